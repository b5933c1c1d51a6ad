package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/webhook"
)

// receiver is what stands at the address: a handler that passes on the notices
// that were signed with key within the last five minutes, each once.
func receiver(key []byte, handle func(notice string, n authprofile.Notice)) http.Handler {
	var handled sync.Map // IDs; a real program keeps them in its database
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, timestamp := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
		seconds, err := strconv.ParseInt(timestamp, 10, 64)
		if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
			http.Error(w, "too old, or the clocks differ", http.StatusBadRequest)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
		if err != nil {
			http.Error(w, "too long", http.StatusRequestEntityTooLarge)
			return
		}
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
		want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
		authentic := false
		for signature := range strings.SplitSeq(r.Header.Get("webhook-signature"), " ") { // one for each secret of the sender
			authentic = authentic || hmac.Equal([]byte(signature), []byte(want))
		}
		if !authentic {
			http.Error(w, "not signed with the secret", http.StatusUnauthorized)
			return
		}
		var message struct {
			Type string             `json:"type"`
			Data authprofile.Notice `json:"data"`
		}
		if err := json.Unmarshal(body, &message); err != nil {
			http.Error(w, "not JSON", http.StatusBadRequest)
			return
		}
		if _, again := handled.LoadOrStore(id, true); !again {
			handle(message.Type, message.Data)
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

// A notice is sent, and received by a handler that needs nothing but the standard
// library.
func ExampleHook() {
	key := []byte("an example, not a secret")
	srv := httptest.NewServer(receiver(key, func(notice string, n authprofile.Notice) {
		fmt.Println(notice, n.ProfileID, n.User)
	}))
	defer srv.Close()

	hook, err := webhook.New(srv.URL, "whsec_"+base64.StdEncoding.EncodeToString(key))
	if err != nil {
		log.Fatal(err)
	}
	m := &authprofile.Manager{Notify: hook.Notify}

	// Maintain calls Notify. It does so a second time if the first answer was lost,
	// as is done here in its place.
	notice := authprofile.Notice{
		ID:       "0b9d1c5e-5c1f-4a52-9be5-0f7b4a1d7c3e",
		Kind:     authprofile.NoticeNeedsUser,
		GrantKey: authprofile.GrantKey{ProfileID: "calendar", User: "ada"},
		At:       time.Now(),
	}
	for range 2 {
		if err := m.Notify(context.Background(), notice); err != nil {
			log.Fatal(err)
		}
	}

	stranger, err := webhook.New(srv.URL, "whsec_dGhlIHNlY3JldCBvZiBhIHN0cmFuZ2Vy")
	if err != nil {
		log.Fatal(err)
	}
	err = stranger.Notify(context.Background(), notice)
	fmt.Println(err.(*webhook.Error).StatusCode)
	// Output:
	// authprofile.grant.needs_user calendar ada
	// 401
}
