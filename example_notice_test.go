package authprofile_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"text/template"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/egress"
	"github.com/authprofile/authprofile/webhook"
)

// A server runs Maintain beside its handlers, in each of its replicas.
func ExampleManager_Maintain() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	m := &authprofile.Manager{Notify: func(ctx context.Context, n authprofile.Notice) error {
		log.Print(n.Kind, " ", n.ProfileID)
		return nil
	}}
	go func() {
		if err := m.Maintain(ctx); err != nil {
			log.Print(err)
		}
	}()
	// ... serve until ctx ends ...
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if err := m.Shutdown(ending); err != nil {
		log.Print(err)
	}
}

// Where no program runs all the time, a cron job does for a minute, every ten
// minutes, what Maintain otherwise does in the background. What one run leaves
// undone, the next one does.
func ExampleManager_Maintain_cron() {
	hook, err := webhook.New("https://ops.example.com/hooks/oauth", os.Getenv("WEBHOOK_SECRET"))
	if err != nil {
		log.Fatal(err)
	}
	m := &authprofile.Manager{Notify: hook.Notify} // and the Store that the other programs have
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := m.Maintain(ctx); err != nil {
		log.Print(err)
	}
	ending, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := m.Shutdown(ending); err != nil {
		log.Print(err)
	}
}

// mails are what people are told: the first line is the subject. The address in
// the first leads to a page with a button that calls Begin.
var mails = template.Must(template.New("").Parse(`
{{define "needs_user"}}Please connect {{.ProfileID}} again
Since {{.At.Format "2 January"}} we cannot reach {{.ProfileID}} for you. Please connect it again:
https://app.example.com/connections/{{.ProfileID}}
{{end}}
{{define "expiring"}}Your connection to {{.ProfileID}} ends soon
It ends on {{.At.Format "2 January"}}. To keep it, connect again:
https://app.example.com/connections/{{.ProfileID}}
{{end}}
{{define "needs_administrator"}}{{.ProfileID}}: the registration does not work
It has not worked since {{.At.Format "2 January, 15:04 MST"}}{{with .Failure}} ({{.Reason}} {{.Code}}){{end}}. Connections concerned: {{.Grants}}.
{{end}}
{{define "secret_expiring"}}{{.ProfileID}}: the client secret ends soon
It ends on {{.At.Format "2 January"}}. Make a new one at the provider, and save it in the profile.
{{end}}
{{define "recovered"}}{{.ProfileID}} works again
There is nothing left for you to do.
{{end}}`))

// mailNotice tells people by mail. It goes to the user, or to the administrator
// if the notice is about the profile.
func mailNotice(ctx context.Context, n authprofile.Notice) error {
	if mails.Lookup(string(n.Kind)) == nil {
		return nil // a kind that this program does not know
	}
	to := "admin@example.com"
	if n.User != "" {
		to = n.User + "@example.com" // from the application's own table of users; one who has left is told nothing
	}
	var text strings.Builder
	if err := mails.ExecuteTemplate(&text, string(n.Kind), n); err != nil {
		return err
	}
	subject, body, _ := strings.Cut(text.String(), "\n")
	// With an ID made of the notice's, mail programs recognize one that was sent twice.
	return sendMail(ctx, "<"+n.ID+"@app.example.com>", to, subject, body)
}

// sendMail stands for the application's own way to send mail. An error makes
// Maintain try again later.
func sendMail(_ context.Context, id, to, subject, body string) error {
	fmt.Printf("Message-ID: %s\nTo: %s\nSubject: %s\n\n%s\n", id, to, subject, body)
	return nil
}

// Users and administrators are told by mail.
func ExampleNotice_mail() {
	ctx := context.Background()
	m := &authprofile.Manager{Notify: mailNotice}
	// Maintain calls Notify, as is done here in its place.
	at := time.Date(2026, 7, 1, 11, 59, 0, 0, time.UTC)
	for _, n := range []authprofile.Notice{
		{ID: "1", Kind: authprofile.NoticeNeedsUser, GrantKey: authprofile.GrantKey{ProfileID: "calendar", User: "ada"}, At: at},
		{ID: "2", Kind: authprofile.NoticeRecovered, GrantKey: authprofile.GrantKey{ProfileID: "calendar", User: "ada"}, At: at},
		{ID: "3", Kind: authprofile.NoticeNeedsAdministrator, GrantKey: authprofile.GrantKey{ProfileID: "crm"}, At: at, Grants: 4711,
			Failure: &authprofile.Failure{Reason: authprofile.ReasonClient, Code: "invalid_client"}},
	} {
		if err := m.Notify(ctx, n); err != nil {
			log.Print(err)
		}
	}
	// Output:
	// Message-ID: <1@app.example.com>
	// To: ada@example.com
	// Subject: Please connect calendar again
	//
	// Since 1 July we cannot reach calendar for you. Please connect it again:
	// https://app.example.com/connections/calendar
	//
	// Message-ID: <2@app.example.com>
	// To: ada@example.com
	// Subject: calendar works again
	//
	// There is nothing left for you to do.
	//
	// Message-ID: <3@app.example.com>
	// To: admin@example.com
	// Subject: crm: the registration does not work
	//
	// It has not worked since 1 July, 11:59 UTC (client invalid_client). Connections concerned: 4711.
}

// Each tenant of a service has named an address for notices. With the client of
// package egress, none of them leads to a host within the service's network.
func ExampleNotice_webhook() {
	type address struct{ url, secret string }
	tenants := map[string]address{ // by profile; a service has them in its database
		"calendar": {"https://hooks.tenant.example/oauth", os.Getenv("TENANT_SECRET")},
	}
	client := egress.NewClient()
	m := new(authprofile.Manager)
	m.Notify = func(ctx context.Context, n authprofile.Notice) error {
		to, ok := tenants[n.ProfileID]
		if !ok {
			return nil // the tenant wants no notices
		}
		hook, err := webhook.New(to.url, to.secret)
		if err != nil {
			return err
		}
		hook.Client = client
		err = hook.Notify(ctx, n)
		if refused, ok := errors.AsType[*webhook.Error](err); ok && refused.StatusCode == http.StatusGone {
			return nil // the receiver wants no more notices; a service would forget its address
		}
		return err
	}
	// ... go m.Maintain(ctx) ...
}
