package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

const day = 24 * time.Hour

// madeUp makes up grants, always the same ones.
type madeUp struct {
	*rand.Rand
	now   time.Time
	store authprofile.Store
}

// makeUp fills a store: with profiles of all kinds, with grants in every state and for
// every reason, and with a few that are real, whose tokens the provider knows.
func makeUp(ctx context.Context, m *authprofile.Manager, store authprofile.Store, p *provider) error {
	profiles, err := makeUpProfiles(p, time.Now())
	if err != nil {
		return err
	}
	d := &madeUp{rand.New(rand.NewPCG(20, 26)), time.Now(), store}
	users := people()
	for _, profile := range profiles {
		if err := m.Save(ctx, profile.Profile); err != nil {
			return fmt.Errorf("%s: %w", profile.Name, err)
		}
		if profile.Type == authprofile.TypeApp {
			if err := d.put(ctx, profile.Profile, "", profile.troubles); err != nil {
				return err
			}
			continue
		}
		for i, n := range d.Perm(len(users))[:profile.users] {
			troubles := profile.troubles
			if profile.hasAll && i < len(everyTrouble) {
				troubles = everyTrouble[i : i+1]
			}
			if err := d.put(ctx, profile.Profile, users[n], troubles); err != nil {
				return err
			}
		}
	}

	// What olga has connected herself: one that works, one that is tried again, one
	// that needs her, and nothing of the last.
	if err := connect(ctx, m, p, profiles[0].Profile, "olga", "olga@example.com"); err != nil {
		return err
	}
	for i, t := range []trouble{unavailable, revoked} {
		if err := d.put(ctx, profiles[1+i].Profile, "olga", []trouble{t}); err != nil {
			return err
		}
	}
	for _, user := range users[:20] {
		if err := connect(ctx, m, p, profiles[0].Profile, user, user+"@example.com"); err != nil {
			return err
		}
	}
	return nil
}

// connect goes through an authorization as a person with a browser does.
func connect(ctx context.Context, m *authprofile.Manager, p *provider, profile *authprofile.Profile, user, account string) error {
	p.SetConsent(consent(account))
	flow, err := m.Begin(ctx, profile, user)
	if err != nil {
		return err
	}
	callback, err := p.Authorize(flow.URL)
	if err != nil {
		return err
	}
	_, err = m.Finish(ctx, user, callback.Query())
	return err
}

// A profile to be made up, with so many users. If it has troubles, all of its grants
// have one of them. Of one that has all, the first users have one trouble each.
type profile struct {
	*authprofile.Profile
	users    int
	troubles []trouble
	hasAll   bool
}

func makeUpProfiles(p *provider, now time.Time) ([]profile, error) {
	key, err := clientKey()
	if err != nil {
		return nil, err
	}
	here := authprofile.Endpoints{DiscoveryURL: p.DiscoveryURL()}
	scopes := []string{"openid", "offline_access"}
	profiles := []profile{
		{users: 420, Profile: &authprofile.Profile{ID: "calendar", Name: "Calendar", Description: "Shows when you are free, and books meetings for you.", Endpoints: here, Scopes: scopes}},
		{users: 260, Profile: &authprofile.Profile{ID: "contacts", Name: "Contacts", Description: "Suggests people while you type.", Endpoints: here, Scopes: scopes}},
		{users: 180, Profile: &authprofile.Profile{ID: "files", Name: "Files", Description: "Attaches documents to your plans.", Endpoints: here, Scopes: scopes}},
		{users: 90, Profile: &authprofile.Profile{ID: "tasks", Name: "Task lists", Description: "Keeps your lists here and there the same.", Template: "planner-tasks"}},
		{users: 730, Profile: &authprofile.Profile{Name: "Google mail", Description: "Reads the mail that people have labelled for us.", Template: authprofile.Google, Scopes: []string{"openid", "email"}}},
		{users: 640, Profile: &authprofile.Profile{Name: "Contoso documents", Description: "The tenant of our largest customer.", Template: authprofile.Microsoft("contoso.com"), Scopes: []string{"openid", "email", "Files.Read"}, SecretExpires: now.Add(12 * day)}},
		{users: 210, Profile: &authprofile.Profile{ID: "code", Name: "GitHub", Description: "Links changes to plans.", Template: "github"}},
		{users: 190, hasAll: true, Profile: &authprofile.Profile{ID: "meetings", Name: "Video meetings", Template: "zoom"}},
		{users: 240, troubles: []trouble{refusedClient}, Profile: &authprofile.Profile{ID: "sales", Name: "Sales pipeline", Description: "Its connected app was made anew at the provider on Monday.", Template: "salesforce", Scopes: []string{"openid", "refresh_token"}}},
		{Profile: &authprofile.Profile{ID: "reports", Name: "Monthly reports", Description: "Runs on the first of the month.", Type: authprofile.TypeApp, Endpoints: here}},
		{troubles: []trouble{unreachable}, Profile: &authprofile.Profile{ID: "directory", Name: "Staff directory", Description: "Signs with a key, and has no secret.", Type: authprofile.TypeApp, ClientKey: key, Template: "okta/acme.okta.com", Scopes: []string{"okta.users.read"}}},
		{troubles: []trouble{misconfigured}, Profile: &authprofile.Profile{ID: "billing", Name: "Billing", Type: authprofile.TypeApp, Endpoints: authprofile.Endpoints{TokenURL: "https://billing.example/token"}, SecretExpires: now.Add(-3 * day)}},
	}
	for _, p := range profiles {
		if p.Type == "" {
			p.Type = authprofile.TypeUser
		}
		p.ClientID = providertest.ClientID
		if p.ClientKey == "" {
			p.ClientSecret = providertest.ClientSecret
		}
	}
	return profiles, nil
}

// clientKey makes a private key.
func clientKey() (authprofile.Secret, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	return authprofile.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// people are the users of the service.
func people() []string {
	first := strings.Fields("Ada Alan Amara Bao Carmen Chidi Dalia Edsger Elif Farid Grace Hedy Ines Ivo Jun Karen Lena Mei Milan Noor Olu Priya Rosa Sofia Tariq Uma Viktor Wanda Yara Zoe")
	last := strings.Fields("Abbott Banerjee Castro Diallo Eriksen Fischer Garcia Hassan Ivanova Jones Kowalski Lovelace Moreau Nguyen Okafor Petrov Quinn Rossi Sato Turing Usman Vega Weber Xu Yilmaz")
	var all []string
	for _, f := range first {
		for _, l := range last {
			all = append(all, strings.ToLower(f+"."+l))
		}
	}
	return all
}

// A trouble is why a grant does not work, and what the provider has said.
type trouble struct {
	status            authprofile.Status
	reason            authprofile.Reason
	code, description string
	httpStatus        int
}

const (
	failing    = authprofile.StatusFailing
	needsUser  = authprofile.StatusNeedsReauthorization
	needsAdmin = authprofile.StatusNeedsConfiguration
)

var (
	unavailable   = trouble{failing, authprofile.ReasonUnavailable, "temporarily_unavailable", "Down for maintenance until 14:00", 503}
	unreachable   = trouble{failing, authprofile.ReasonUnreachable, "", "", 0}
	revoked       = trouble{needsUser, authprofile.ReasonRevoked, "invalid_grant", "Token has been expired or revoked.", 400}
	refusedClient = trouble{needsAdmin, authprofile.ReasonClient, "invalid_client", "Client authentication failed", 401}
	misconfigured = trouble{needsAdmin, authprofile.ReasonConfiguration, "", "", 0}

	everyTrouble = []trouble{
		unavailable, unreachable, revoked, refusedClient, misconfigured,
		{failing, authprofile.ReasonLost, "", "", 0},
		{failing, authprofile.ReasonUnreadable, "", "", 200},
		{failing, authprofile.ReasonRefused, "", "", 403},
		{failing, authprofile.ReasonSingled, "unauthorized_client", "Not allowed for this user", 400},
		{failing, authprofile.ReasonIDToken, "", "", 200},
		{needsUser, authprofile.ReasonInterrupted, "invalid_grant", "", 400},
		{needsUser, authprofile.ReasonExpired, "", "", 0},
		{needsUser, authprofile.ReasonOtherClient, "", "", 0},
		{needsUser, authprofile.ReasonSingled, "unauthorized_client", "Not allowed for this user", 400},
		{needsAdmin, authprofile.ReasonUnreachable, "", "", 0},
		{needsAdmin, authprofile.ReasonRefused, "", "", 403},
	}
	often = []trouble{unavailable, unreachable, revoked, revoked, revoked}
)

// put stores a grant: one that has one of the troubles or, if there are none, mostly
// one that works.
func (d *madeUp) put(ctx context.Context, p *authprofile.Profile, user string, troubles []trouble) error {
	g := &authprofile.Grant{
		GrantKey:    authprofile.GrantKey{ProfileID: p.ID, User: user},
		AccessToken: d.token(), TokenType: "Bearer",
		Obtained: d.now.Add(-d.upTo(50 * time.Minute)),
		Scopes:   p.Scopes, Requested: p.Scopes, ClientID: p.ClientID,
		Status: authprofile.StatusActive,
	}
	g.Expiry = g.Obtained.Add(time.Hour)
	if user != "" {
		g.RefreshToken = d.token()
		g.Authorized = d.now.Add(-time.Hour - d.upTo(300*day))
		g.Account = user + "@example.com"
		switch d.IntN(12) {
		case 0, 1:
			g.Ends, g.EndsBy = d.now.Add(d.upTo(90*day)), authprofile.EndsAnnounced
			g.RefreshExpiry = g.Ends
		case 2:
			g.Ends, g.EndsBy = d.now.Add(60*day+d.upTo(120*day)).Truncate(day), authprofile.EndsIdle
		case 3:
			g.Ends, g.EndsBy = d.now.Add(d.upTo(365*day)).Truncate(day), authprofile.EndsAbsolute
		}
	}
	if len(troubles) == 0 && user != "" && d.IntN(25) == 0 {
		troubles = often
	}
	if len(troubles) > 0 {
		d.fail(g, p, troubles[d.IntN(len(troubles))])
	}
	// Of an app profile whose secret ends, the Manager has noted that in its grant.
	if noted, err := d.store.Grant(ctx, g.GrantKey); err == nil {
		g.Version, g.Due = noted.Version, noted.Due
	}
	return d.store.PutGrant(ctx, g)
}

// fail gives a grant a trouble.
func (d *madeUp) fail(g *authprofile.Grant, p *authprofile.Profile, t trouble) {
	f := &authprofile.Failure{
		Reason: t.reason, Code: t.code, Description: t.description, HTTPStatus: t.httpStatus,
		Last: d.now.Add(-d.upTo(5 * time.Minute)), Attempts: 1, ProfileVersion: p.Version,
	}
	f.Since = f.Last
	switch t.status {
	case failing:
		f.Attempts = 2 + d.IntN(30)
		f.Next = d.now.Add(10*time.Second + d.upTo(6*time.Minute))
		f.Paced = t.httpStatus == 503
	case needsUser:
		f.Last = d.now.Add(-d.upTo(20 * day))
		f.Since = f.Last
	case needsAdmin:
		f.Attempts = 6 + d.IntN(200)
		f.Next = d.now.Add(time.Minute + d.upTo(11*time.Minute))
	}
	if f.Attempts > 1 {
		f.Since = f.Last.Add(-time.Duration(f.Attempts) * 5 * time.Minute)
	}
	g.Status, g.Failure = t.status, f
	// It was renewed last before that.
	g.Obtained = f.Since.Add(-time.Hour)
	g.Expiry = f.Since
	if g.Obtained.Before(g.Authorized) {
		g.Authorized = g.Obtained
	}
}

// token makes up a token that is good for nothing.
func (d *madeUp) token() authprofile.Secret {
	return authprofile.Secret(fmt.Sprintf("made-up-%016x", d.Uint64()))
}

func (d *madeUp) upTo(most time.Duration) time.Duration { return time.Duration(d.Int64N(int64(most))) }
