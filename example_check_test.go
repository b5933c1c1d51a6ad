package authprofile_test

import (
	"context"
	"fmt"

	"github.com/authprofile/authprofile"
)

// What the "Test" button of a form shows, for a client secret that was pasted
// wrongly. The profile is not saved yet.
func ExampleManager_Check() {
	srv, profile := provider()
	defer srv.Close()
	m := &authprofile.Manager{RedirectURL: "https://app.example.com/oauth/callback"}

	profile.ClientSecret = "not the secret"
	for _, step := range m.Check(context.Background(), profile) {
		fmt.Printf("%s: %s\n", step.Name, step.Outcome)
		if step.Problem != "" {
			fmt.Printf("    %s\n", step.Problem)
		}
	}
	// Output:
	// address: passed
	// discovery: passed
	// redirect: passed
	// authorization: passed
	// client: failed
	//     the profile or its registration must be corrected: the provider refuses the client or its request (invalid_client, HTTP 401): wrong secret
	// token: skipped
	//     a person has to consent before a token is issued
	// account: skipped
	//     no call is known that says whose account it is
	// clock: passed
}
