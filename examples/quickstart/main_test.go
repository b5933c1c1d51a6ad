package main

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
)

func TestQuickstart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		run(t.Context(), &out, filepath.Join(t.TempDir(), "tokens.db"))
		want := `Before ada consents: authprofile: token "gitlab": the user must authorize again: no grant yet
She consents to ["read_user"], as ada.lovelace. Stored: access token [redacted], refresh token [redacted].
Her access token has ended. 2000 calls in two replicas got a new one; requests to the provider: 1.
The API accepts it: 200 OK
`
		if got := out.String(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}
