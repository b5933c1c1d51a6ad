package tokenendpoint

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// readLifetime reads the lifetime of the access token out of the object with the
// tokens, as of start.
func (h *Habits) readLifetime(tokens map[string]json.RawMessage, accessToken string, start time.Time) (d time.Duration, known bool) {
	switch h.ExpiryFormat {
	case "", "seconds":
		d, known = readSeconds(first(tokens, h.ExpiryMember), 1)
	case "milliseconds":
		d, known = readSeconds(first(tokens, h.ExpiryMember), 1000)
	case "unix":
		d, known = readUnix(first(tokens, h.ExpiryMember), start)
	case "rfc3339":
		d, known = readTime(first(tokens, h.ExpiryMember), start)
	case "jwt":
		d, known = readUnix(claimExp(accessToken), start)
	}
	if known {
		return d, true
	}
	return readSeconds(tokens["expires_in"], 1)
}

// readSeconds reads a lifetime, of which so many units are a second. One that
// cannot be read is not known, which is neither none nor an endless one. A
// lifetime of 0 is not known either: no provider issues a token that has ended,
// and those whose tokens do not end (Mailchimp, VK) say 0.
func readSeconds(raw json.RawMessage, units float64) (d time.Duration, known bool) {
	f, ok := readNumber(raw)
	if !ok || f == 0 {
		return 0, false
	}
	switch f = math.Floor(f / units); {
	case f <= 0:
		return 0, true
	case f >= maxLifetime.Seconds():
		return maxLifetime, true
	}
	return time.Duration(f) * time.Second, true
}

// readNumber reads a number, or a string with one. It is infinite if a float64
// cannot hold it.
func readNumber(raw json.RawMessage) (f float64, ok bool) {
	s := string(raw)
	if len(s) > 0 && s[0] == '"' {
		if json.Unmarshal(raw, &s) != nil {
			return 0, false
		}
		s = strings.TrimSpace(s)
	}
	// ParseFloat also knows "Inf", "0x1p4" and "1_000".
	if strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil || errors.Is(err, strconv.ErrRange)
}

// readUnix reads an end in seconds since 1970. One of 0 or less is not known:
// no token ended then.
func readUnix(raw json.RawMessage, start time.Time) (d time.Duration, known bool) {
	f, ok := readNumber(raw)
	if !ok || f <= 0 {
		return 0, false
	}
	end := time.Unix(int64(min(f, math.MaxUint32)), 0) // later is too late to matter
	return until(end, start), true
}

// readTime reads an end in the format of RFC 3339. The zero time is how some
// languages write that there is none.
func readTime(raw json.RawMessage, start time.Time) (d time.Duration, known bool) {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return 0, false
	}
	end, err := time.Parse(time.RFC3339, strings.TrimSpace(s))
	if err != nil || end.IsZero() {
		return 0, false
	}
	return until(end, start), true
}

// until returns how long after start an end is, within the bounds of lifetimes.
func until(end, start time.Time) time.Duration {
	return min(max(end.Sub(start), 0), maxLifetime)
}

// claimExp returns the claim exp of a token that looks like a signed JWT (RFC
// 7519, section 4.1.4), and nothing if anything about it is odd. The signature is
// not verified, since the token has come from its issuer and is only forwarded.
func claimExp(token string) json.RawMessage {
	parts := strings.SplitN(token, ".", 4)
	if len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil || len(payload) == 0 || payload[0] != '{' {
		return nil
	}
	claims, problem := parseObject(payload)
	if raw := claims["exp"]; problem == nil && len(raw) > 0 && raw[0] != '"' {
		return raw
	}
	return nil
}
