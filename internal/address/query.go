package address

import (
	"net/url"
	"strings"
)

// ReadQuery reads a query as browsers do (WHATWG URL, section 5.1): a semicolon
// separates nothing, and a percent sign without two digits stands for itself.
// It returns the names of the parameters that others may read differently.
func ReadQuery(raw string) (query url.Values, guessed []string) {
	query = make(url.Values)
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(strings.ReplaceAll(pair, "+", " "), "=")
		name, ok1 := PercentDecode(name)
		value, ok2 := PercentDecode(value)
		query[name] = append(query[name], value)
		if !ok1 || !ok2 || strings.Contains(pair, ";") {
			guessed = append(guessed, name)
		}
	}
	return query, guessed
}

// PercentDecode decodes what is percent-encoded in s, and leaves percent signs
// without two digits as they are: then it is not ok.
func PercentDecode(s string) (decoded string, ok bool) {
	ok = true
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			if c, err := url.PathUnescape(s[i:min(i+3, len(s))]); err == nil {
				b = append(b, c...)
				i += 2
				continue
			}
			ok = false
		}
		b = append(b, s[i])
	}
	return string(b), ok
}
