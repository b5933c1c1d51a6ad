package authprofile_test

import (
	"slices"
	"testing"
)

// A page can show each step as soon as it has ended: what comes later has not been
// asked for then, and is not if the page is gone.
func TestCheckSteps(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		m, p := w.checker(0), w.unsavedUser()
		steps := m.CheckSteps(t.Context(), p)
		p.ClientID = "another" // which is the caller's to change
		for step := range steps {
			if step.Name == "authorization" {
				break
			}
			if got := len(w.srv.Requests()); got > 0 {
				t.Errorf("at step %s: got %d token requests, want none yet", step.Name, got)
			}
		}
		if got := len(w.srv.Requests()); got > 0 {
			t.Errorf("left early: got %d token requests, want none", got)
		}
		for range 2 {
			wantSteps(t, slices.Collect(steps), "pppppssp")
		}
		if got := len(w.srv.Requests()); got != 2 {
			t.Errorf("got %d token requests, want one of each whole check", got)
		}
	})
}
