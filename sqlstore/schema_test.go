package sqlstore

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Migrate waits for as long as others keep the tables, or until its context
// ends. After other errors it gives up soon.
func TestMigrateWaits(t *testing.T) {
	kept := errors.New("Error 1205 (HY000): Lock wait timeout exceeded; try restarting transaction")
	for _, c := range []struct {
		name    string
		refusal error
		timeout time.Duration
		least   time.Duration
		most    time.Duration
		fails   bool
	}{
		{"kept by others", kept, time.Hour, 10 * time.Minute, 11 * time.Minute, false},
		{"kept until the context ends", kept, time.Minute, time.Minute, time.Minute, true},
		{"another error", errors.New("Error 1142 (42000): ALTER command denied"), time.Hour, 0, 5 * time.Second, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			srv := &server{answer: func(int) error {
				if time.Since(start) < 10*time.Minute {
					return c.refusal
				}
				return nil
			}}
			s := srv.open(t, 1)
			s.d = dialects[MySQL]
			ctx, cancel := context.WithTimeout(t.Context(), c.timeout)
			defer cancel()
			err := s.Migrate(ctx)
			if took := time.Since(start); (err != nil) != c.fails || took < c.least || took > c.most {
				t.Errorf("%s: got error %v after %v, want an error %v, after %v to %v", c.name, err, took, c.fails, c.least, c.most)
			}
		})
	}
}
