package sqlstore

import (
	"cmp"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

// findStatements returns the statements of lists and counts in a dialect, with
// their arguments, each behind a line that says what it finds. Tests with real
// databases ask for their plans.
func findStatements(t *testing.T, name Dialect) string {
	t.Helper()
	db := sql.OpenDB(noConnector{})
	defer db.Close()
	s, err := New(db, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	d, grants := s.d, s.grants
	grants.columns = "*" // all of them make no difference
	var b strings.Builder
	write := func(title string, q query) {
		parts := strings.Split(q.sql, "?")
		if d.dollars {
			text := q.sql
			for i := len(q.args); i > 0; i-- {
				text = strings.ReplaceAll(text, fmt.Sprintf("$%d", i), "?")
			}
			parts = strings.Split(text, "?")
		}
		text := parts[0]
		for i, arg := range q.args {
			text += literal(t, arg) + parts[i+1]
		}
		fmt.Fprintf(&b, "-- %s\n%s;\n\n", title, text)
	}
	for i := range 32 {
		var f authprofile.GrantFilter
		var after position
		var words []string
		if i&1 != 0 {
			f.ProfileID = "p000000100"
			words = append(words, "profile")
		}
		if i&2 != 0 {
			f.User = "user-1"
			words = append(words, "user")
		}
		if i&4 != 0 {
			f.Status = authprofile.StatusFailing
			words = append(words, "status")
		}
		if i&8 != 0 {
			f.EndsBefore = time.Date(2030, 1, 2, 3, 4, 5, 6e6, time.UTC)
			words = append(words, "end")
		}
		if i&16 != 0 {
			after = position{ProfileID: "p000000100", User: "user-0"}
			words = append(words, "after")
		}
		title := cmp.Or(strings.Join(words, ", "), "all")
		keys, ok := d.keys(f, after, "profile_id", "user_id")
		if !ok {
			t.Fatalf("%s: got nothing to find", title)
		}
		write("ordered: "+title, d.ordered(grants, f, keys, 100))
		if i&8 != 0 && i&2 == 0 {
			write("few: "+title, d.few(grants, f, after, 100))
		}
		if i == 8 {
			write("ending", d.ending(grants, f))
		}
	}
	write("ordered: due", d.due(grants, time.Date(2100, 1, 2, 3, 4, 5, 6e6, time.UTC), 100))
	write("few: due", d.due(grants, time.Date(2020, 1, 2, 3, 4, 5, 6e6, time.UTC), 100))
	write("count", query{grants.count, nil})
	write("count: profile", query{grants.countOf, []any{"failing", "p000000100"}})
	write("count: first status", query{grants.firstStatus, nil})
	write("count: next status", query{grants.nextStatus, []any{"active"}})
	return strings.TrimSuffix(b.String(), "\n")
}

func literal(t *testing.T, arg any) string {
	t.Helper()
	if v, ok := arg.(driver.Valuer); ok {
		x, err := v.Value()
		if err != nil {
			t.Fatal(err)
		}
		arg = x
	}
	switch arg := arg.(type) {
	case string:
		return "'" + arg + "'"
	case time.Time:
		return "'" + arg.Format(time.RFC3339Nano) + "'"
	}
	return fmt.Sprint(arg)
}

// The statements are kept in a file, for the tests that ask databases for their
// plans.
func TestFindStatements(t *testing.T) {
	for d := range dialects {
		got := findStatements(t, d)
		file := filepath.Join("testdata", "find."+string(d)+".sql")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("got\n%s\nwant as in %s", got, file)
		}
	}
}

// What lies in another profile, or before the given key, needs no database.
func TestNothingToFind(t *testing.T) {
	for name, d := range dialects {
		for _, c := range []struct {
			f     authprofile.GrantFilter
			after position
			want  bool
		}{
			{authprofile.GrantFilter{ProfileID: "b"}, position{}, true},
			{authprofile.GrantFilter{ProfileID: "b"}, position{ProfileID: "a", User: "z"}, true},
			{authprofile.GrantFilter{ProfileID: "b"}, position{ProfileID: "b", User: "z"}, true},
			{authprofile.GrantFilter{ProfileID: "b"}, position{ProfileID: "c"}, false},
			{authprofile.GrantFilter{ProfileID: "b", User: "m"}, position{ProfileID: "a", User: "z"}, true},
			{authprofile.GrantFilter{ProfileID: "b", User: "m"}, position{ProfileID: "b", User: "l"}, true},
			{authprofile.GrantFilter{ProfileID: "b", User: "m"}, position{ProfileID: "b", User: "m"}, false},
			{authprofile.GrantFilter{ProfileID: "b", User: "m"}, position{ProfileID: "b", User: "n"}, false},
			{authprofile.GrantFilter{ProfileID: "b", User: "m"}, position{ProfileID: "c"}, false},
			{authprofile.GrantFilter{User: "m"}, position{ProfileID: "c", User: "z"}, true},
		} {
			if _, got := d.keys(c.f, c.after, "p", "u"); got != c.want {
				t.Errorf("%s: keys of %+v after %q: got %v, want %v", name, c.f, c.after, got, c.want)
			}
		}
	}
}
