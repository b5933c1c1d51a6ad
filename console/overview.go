package console

import (
	"net/http"

	"github.com/authprofile/authprofile"
)

// maxUrgent is how many matters of each kind the overview names.
const maxUrgent = 3

// overview is the first page.
type overview struct {
	Empty     bool // there is no profile yet
	Statuses  []statusCount
	Profiles  string  // how many there are; empty: not known
	Counts    matters // when the statuses were counted, and what they may lack
	Ends      matters // the same of the picture
	Chart     *chart  // nil: nothing ends
	Attention *attention
}

type statusCount struct {
	Status authprofile.Status
	Number string
}

func (h *Handler) overviewRoutes() map[string]route {
	return map[string]route{"": {get: h.showOverview}, "attention": {get: h.showAttention}}
}

func (h *Handler) showOverview(c *call) {
	ctx := c.r.Context()
	profiles, err := h.Manager.ListProfiles(ctx, "", 1)
	found := h.survey.look(ctx)
	o := &overview{
		Empty:     len(profiles) == 0 && err == nil,
		Counts:    surveyed(found.Counts),
		Ends:      surveyed(found.Ends),
		Chart:     newChart(&found.Ends.Value),
		Attention: h.attention(ctx, found, maxUrgent),
	}
	if counts := found.Counts; !counts.At.IsZero() {
		for _, s := range []authprofile.Status{authprofile.StatusActive, authprofile.StatusFailing, authprofile.StatusNeedsReauthorization, authprofile.StatusNeedsConfiguration} {
			o.Statuses = append(o.Statuses, statusCount{s, number(counts.Value[s])})
		}
	}
	if !found.Secrets.At.IsZero() && !found.Secrets.Partial {
		o.Profiles = plural(found.Secrets.Value.Profiles, "profile", "profiles")
	}
	v := c.view("Overview", o)
	if _, failed := unreadable(err); failed != nil {
		v.Problem = "The store could not be read, so this page may be out of date or incomplete. Reload it in a moment."
	}
	c.show(http.StatusOK, "overview", v)
}
