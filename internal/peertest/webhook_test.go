package peertest

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/webhook"
)

// The library of the Standard Webhooks project accepts what package webhook
// sends, by each of its secrets, and refuses it once a byte has changed.
func TestWebhookStandard(t *testing.T) {
	secrets := []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}
	const stranger = "whsec_HxABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4="
	received := 0
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		received++
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		verify := func(secret string, body []byte, header http.Header) error {
			wh, err := standardwebhooks.NewWebhook(secret)
			if err != nil {
				return err
			}
			return wh.Verify(body, header)
		}
		for _, secret := range secrets {
			if err := verify(secret, body, r.Header); err != nil {
				t.Errorf("got %v, want it accepted", err)
			}
			other := r.Header.Clone()
			other.Set("webhook-id", "another")
			if err := verify(secret, body, other); !errors.Is(err, standardwebhooks.ErrNoMatchingSignature) {
				t.Errorf("another ID: got %v, want ErrNoMatchingSignature", err)
			}
			if err := verify(secret, append(body, ' '), r.Header); !errors.Is(err, standardwebhooks.ErrNoMatchingSignature) {
				t.Errorf("another body: got %v, want ErrNoMatchingSignature", err)
			}
		}
		if err := verify(stranger, body, r.Header); !errors.Is(err, standardwebhooks.ErrNoMatchingSignature) {
			t.Errorf("another secret: got %v, want ErrNoMatchingSignature", err)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer srv.Close()

	hook, err := webhook.New(srv.URL+"/hooks?key=value", secrets...)
	if err != nil {
		t.Fatal(err)
	}
	hook.Client = srv.Client()
	kinds := []authprofile.NoticeKind{authprofile.NoticeNeedsUser, authprofile.NoticeRecovered, authprofile.NoticeExpiring}
	for _, kind := range kinds {
		err := hook.Notify(t.Context(), authprofile.Notice{
			ID: "0b9d1c5e-5c1f-4a52-9be5-0f7b4a1d7c3e", Kind: kind, GrantKey: authprofile.GrantKey{ProfileID: "crm", User: "ada <é>"}, At: time.Now(),
		})
		if err != nil {
			t.Errorf("%s: got %v, want no error", kind, err)
		}
	}
	if received != len(kinds) {
		t.Errorf("got %d requests, want %d", received, len(kinds))
	}
}
