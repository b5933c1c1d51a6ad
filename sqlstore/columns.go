package sqlstore

import "github.com/authprofile/authprofile"

// A column binds a field of a record to a column of its table, for writing and
// for reading.
type column struct {
	name  string
	value value
}

// arguments are the values of the columns, for a statement or for Scan.
func arguments(cols []column) []any {
	args := make([]any, len(cols))
	for i, c := range cols {
		args[i] = c.value
	}
	return args
}

func profileColumns(d *dialect, p *authprofile.Profile) []column {
	return []column{
		{"id", key{&p.ID}},
		{"version", number[int64]{&p.Version}},
		{"created", when{d, &p.Created}},
		{"updated", when{d, &p.Updated}},
		{"name", text[string]{&p.Name}},
		{"description", text[string]{&p.Description}},
		{"type", text[authprofile.Type]{&p.Type}},
		{"client_id", text[string]{&p.ClientID}},
		{"client_secret", secret{d, &p.ClientSecret}},
		{"auth_method", text[authprofile.AuthMethod]{&p.AuthMethod}},
		{"template", text[authprofile.Template]{&p.Template}},
		{"discovery_url", text[string]{&p.Endpoints.DiscoveryURL}},
		{"auth_url", text[string]{&p.Endpoints.AuthURL}},
		{"token_url", text[string]{&p.Endpoints.TokenURL}},
		{"revocation_url", text[string]{&p.Endpoints.RevocationURL}},
		{"device_auth_url", text[string]{&p.Endpoints.DeviceAuthURL}},
		{"scopes", list{&p.Scopes}},
		{"redirect_url", text[string]{&p.RedirectURL}},
		{"params", params{&p.Params}},
		{"token_params", sparse{"{}", params{&p.TokenParams}}},
		{"api_hosts", sparse{"[]", list{&p.APIHosts}}},
		{"client_key", sparse{"", secret{d, &p.ClientKey}}},
		{"secret_expires", when{d, &p.SecretExpires}},
		{"keep_alive_ns", sparse{int64(0), duration(&p.KeepAlive)}},
		{"par_url", sparse{"", text[string]{&p.Endpoints.PARURL}}},
	}
}

// A grantRow is a grant with room for a failure and a lease, whether it has
// them or not.
type grantRow struct {
	authprofile.Grant
	failing bool
	failure authprofile.Failure
	leased  bool
	lease   authprofile.Lease
}

func newGrantRow(g *authprofile.Grant) *grantRow {
	r := &grantRow{Grant: *g}
	if g.Failure != nil {
		r.failing, r.failure = true, *g.Failure
	}
	if g.Lease != nil {
		r.leased, r.lease = true, *g.Lease
	}
	return r
}

func (r *grantRow) grant() *authprofile.Grant {
	g := &r.Grant
	if r.failing {
		g.Failure = &r.failure
	}
	if r.leased {
		g.Lease = &r.lease
	}
	return g
}

func grantColumns(d *dialect, r *grantRow) []column {
	failure := func(v value) value { return optional{&r.failing, v} }
	lease := func(v value) value { return optional{&r.leased, v} }
	return []column{
		{"profile_id", key{&r.ProfileID}},
		{"user_id", key{&r.User}},
		{"version", number[int64]{&r.Version}},
		{"created", when{d, &r.Created}},
		{"updated", when{d, &r.Updated}},
		{"status", text[authprofile.Status]{&r.Status}},
		{"access_token", secret{d, &r.AccessToken}},
		{"refresh_token", secret{d, &r.RefreshToken}},
		{"token_type", text[string]{&r.TokenType}},
		{"obtained", when{d, &r.Obtained}},
		{"expiry", when{d, &r.Expiry}},
		{"refresh_expiry", when{d, &r.RefreshExpiry}},
		{"scopes", list{&r.Scopes}},
		{"requested", list{&r.Requested}},
		{"client_id", text[string]{&r.ClientID}},
		{"issuer", text[string]{&r.Issuer}},
		{"subject", text[string]{&r.Subject}},
		{"nonce", text[string]{&r.Nonce}},
		{"extra", extra{d, &r.Extra}},
		{"failure_reason", failure(text[authprofile.Reason]{&r.failure.Reason})},
		{"failure_code", failure(text[string]{&r.failure.Code})},
		{"failure_description", failure(text[string]{&r.failure.Description})},
		{"failure_http_status", failure(number[int]{&r.failure.HTTPStatus})},
		{"failing_since", failure(when{d, &r.failure.Since})},
		{"last_attempt", failure(when{d, &r.failure.Last})},
		{"next_attempt", failure(when{d, &r.failure.Next})},
		{"attempts", failure(number[int]{&r.failure.Attempts})},
		{"paced", failure(boolean{&r.failure.Paced})},
		{"failure_profile_version", failure(number[int64]{&r.failure.ProfileVersion})},
		{"lease_owner", lease(text[string]{&r.lease.Owner})},
		{"lease_attempt", lease(text[string]{&r.lease.Attempt})},
		{"lease_length_ns", lease(duration(&r.lease.Length))},
		{"account", sparse{"", text[string]{&r.Account}}},
		{"authorized", when{d, &r.Authorized}},
		{"ends", when{d, &r.Ends}},
		{"ends_by", sparse{"", text[string]{&r.EndsBy}}},
		{"due", when{d, &r.Due}},
		{"told", sparse{"", text[authprofile.Status]{&r.Told}}},
		{"told_at", when{d, &r.ToldAt}},
		{"warned", when{d, &r.Warned}},
	}
}

func flowColumns(d *dialect, f *authprofile.Flow) []column {
	return []column{
		{"id", key{&f.ID}},
		{"profile_id", key{&f.ProfileID}},
		{"user_id", key{&f.User}},
		{"expires", when{d, &f.Expires}},
		{"verifier", secret{d, &f.Verifier}},
		{"nonce", text[string]{&f.Nonce}},
		{"redirect_url", text[string]{&f.RedirectURL}},
		{"requested", list{&f.Requested}},
		{"issuer", text[string]{&f.Issuer}},
		{"issuer_required", boolean{&f.IssuerRequired}},
		{"profile_version", number[int64]{&f.ProfileVersion}},
		{"browser", text[string]{&f.Browser}},
		{"return_to", text[string]{&f.ReturnTo}},
	}
}
