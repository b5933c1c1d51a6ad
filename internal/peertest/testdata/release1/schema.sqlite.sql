CREATE TABLE IF NOT EXISTS authprofile_schema (
	step    INTEGER NOT NULL PRIMARY KEY,
	applied TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS authprofile_profiles (
	id              TEXT NOT NULL PRIMARY KEY,
	version         INTEGER NOT NULL,
	created         TEXT NOT NULL,
	updated         TEXT NOT NULL,
	name            TEXT NOT NULL,
	description     TEXT NOT NULL,
	type            TEXT NOT NULL,
	client_id       TEXT NOT NULL,
	client_secret   BLOB NOT NULL,
	auth_method     TEXT NOT NULL,
	template        TEXT NOT NULL,
	discovery_url   TEXT NOT NULL,
	auth_url        TEXT NOT NULL,
	token_url       TEXT NOT NULL,
	revocation_url  TEXT NOT NULL,
	device_auth_url TEXT NOT NULL,
	scopes          TEXT NOT NULL,
	redirect_url    TEXT NOT NULL,
	params          TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS authprofile_grants (
	profile_id              TEXT NOT NULL,
	user_id                 TEXT NOT NULL,
	version                 INTEGER NOT NULL,
	created                 TEXT NOT NULL,
	updated                 TEXT NOT NULL,
	status                  TEXT NOT NULL,
	access_token            BLOB NOT NULL,
	refresh_token           BLOB NOT NULL,
	token_type              TEXT NOT NULL,
	obtained                TEXT,
	expiry                  TEXT,
	refresh_expiry          TEXT,
	scopes                  TEXT NOT NULL,
	requested               TEXT NOT NULL,
	client_id               TEXT NOT NULL,
	issuer                  TEXT NOT NULL,
	subject                 TEXT NOT NULL,
	nonce                   TEXT NOT NULL,
	extra                   BLOB NOT NULL,
	failure_reason          TEXT,
	failure_code            TEXT,
	failure_description     TEXT,
	failure_http_status     INTEGER,
	failing_since           TEXT,
	last_attempt            TEXT,
	next_attempt            TEXT,
	attempts                INTEGER,
	paced                   INTEGER,
	failure_profile_version INTEGER,
	lease_owner             TEXT,
	lease_attempt           TEXT,
	lease_length_ns         INTEGER,
	PRIMARY KEY (profile_id, user_id)
);

CREATE TABLE IF NOT EXISTS authprofile_flows (
	id              TEXT NOT NULL PRIMARY KEY,
	profile_id      TEXT NOT NULL,
	user_id         TEXT NOT NULL,
	expires         TEXT NOT NULL,
	verifier        BLOB NOT NULL,
	nonce           TEXT NOT NULL,
	redirect_url    TEXT NOT NULL,
	requested       TEXT NOT NULL,
	issuer          TEXT NOT NULL,
	issuer_required INTEGER NOT NULL,
	profile_version INTEGER NOT NULL,
	browser         TEXT NOT NULL,
	return_to       TEXT NOT NULL
);

INSERT INTO authprofile_schema (step, applied) VALUES (1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));

CREATE INDEX IF NOT EXISTS authprofile_grants_status ON authprofile_grants (status, failing_since);

CREATE INDEX IF NOT EXISTS authprofile_flows_expires ON authprofile_flows (expires);

INSERT INTO authprofile_schema (step, applied) VALUES (2, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));
