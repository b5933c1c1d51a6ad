package console

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/authprofile/authprofile"
)

// A moment is a time in the life of a token.
type moment struct {
	Name  string
	Class string // of its point: good, warn, bad or nothing
	At    time.Time
	Now   bool
}

// What moments are called that the picture looks for.
const (
	tokenIssued = "Token issued"
	tokenDue    = "Renewed on request"
	tokenEnds   = "Token ends"
)

// lifeOf returns the moments of a grant's life, in the order of their times. Those
// whose time is not known are left out.
func lifeOf(g *authprofile.Grant, now time.Time, renewBefore time.Duration) []moment {
	var life []moment
	add := func(name, class string, at time.Time) {
		if !at.IsZero() {
			life = append(life, moment{Name: name, Class: class, At: at})
		}
	}
	add("User consented", "", g.Authorized)
	add(tokenIssued, "good", g.Obtained)
	add(tokenDue, "warn", dueOf(g, now, renewBefore))
	add(tokenEnds, "bad", g.Expiry)
	if g.Failure != nil {
		add("Failing since", "bad", g.Failure.Since)
		add("Next attempt", "warn", g.Failure.Next)
	}
	if g.RefreshToken != "" && !g.RefreshExpiry.Equal(g.Ends) {
		add("Refresh token ends", "bad", g.RefreshExpiry)
	}
	add("Grant ends", "bad", g.Ends)
	if len(life) == 0 {
		return nil
	}
	life = append(life, moment{Name: "Now", At: now, Now: true})
	// Those at the same time stay in the order in which they follow from each other.
	// The picture has whole seconds.
	slices.SortStableFunc(life, func(a, b moment) int { return cmp.Compare(a.At.Unix(), b.At.Unix()) })
	return life
}

// dueOf returns from when on a request for a token begins its renewal: Manager.RenewBefore
// before its end, and not before two thirds of its life. It is zero if that is not known,
// or if nothing is renewed.
func dueOf(g *authprofile.Grant, now time.Time, renewBefore time.Duration) time.Time {
	if g.Expiry.IsZero() || g.Obtained.IsZero() || !g.Expiry.After(g.Obtained) || whyNotRenewed(g) != "" ||
		g.Status == authprofile.StatusNeedsReauthorization {
		return time.Time{}
	}
	if renewBefore <= 0 {
		renewBefore = time.Minute
	}
	return g.Expiry.Add(-min(renewBefore, g.Expiry.Sub(g.Obtained)/3))
}

// A picture is a line from top to bottom with a point for each moment, and beside it
// what happens then. It is drawn in its own units, which are pixels on a screen that
// is wide enough.
type picture struct {
	Width, Height int
	X             int // of the line
	Bars          []bar
	Points        []point
	Due           string // the name of the moment from which a token is renewed, if it has one
	Description   string // in words
}

// A bar is the line between two points.
type bar struct {
	Class    string // live while the access token is, due while it is being replaced
	From, To int
	Label    *label // how long that is, if it is worth saying
}

// A point is a moment in the picture.
type point struct {
	moment
	Y        int
	Distance string // from now
	Labels   []label
}

// A label is a text in the picture: Y is that of its baseline.
type label struct {
	Class, Text string
	X, Y        int
}

// How the picture is laid out. Names are drawn in 14 units, all other text in 12.
const (
	pictureWidth = 300
	lineX        = 14
	textX        = 32
	rowHeight    = 42 // of a point with its name and time
	gapText      = 20 // of the text between two of them
	gapScale     = 2  // for each doubling of the time between them
)

func newPicture(life []moment, now time.Time) *picture {
	if len(life) == 0 {
		return nil
	}
	p := &picture{Width: pictureWidth, X: lineX}
	y := 12
	var said []string
	for i, m := range life {
		if i > 0 {
			gap := seconds(life[i-1].At, m.At)
			b := bar{Class: barClass(life, i), From: y}
			y += rowHeight
			if gap >= 1 {
				b.Label = &label{Text: lengthOf(gap), X: textX, Y: y + 4}
				y += gapText + int(gapScale*math.Log2(gap))
			}
			b.To = y
			p.Bars = append(p.Bars, b)
		}
		pt := point{moment: m, Y: y, Labels: []label{
			{"name", m.Name, textX, y + 5},
			{"", m.At.UTC().Format("2 Jan 2006, 15:04:05 UTC"), textX, y + 21},
		}}
		text := m.Name + " " + m.At.UTC().Format("2 Jan 2006, 15:04 UTC")
		if !m.Now {
			pt.Distance = distance(m.At, now)
			text += " (" + pt.Distance + ")"
		}
		if m.Name == tokenDue {
			p.Due = m.Name
		}
		p.Points = append(p.Points, pt)
		said = append(said, text)
	}
	p.Height = y + rowHeight - 12
	p.Description = strings.Join(said, "; ") + "."
	return p
}

// barClass returns the class of the line that ends at a moment.
func barClass(life []moment, end int) string {
	class := ""
	for _, m := range life[:end] {
		switch m.Name {
		case tokenIssued:
			class = "live"
		case tokenDue:
			class = "due"
		case tokenEnds:
			return ""
		}
	}
	return class
}

// seconds returns how long it is from a to b. A time.Duration has no more than 292
// years, and some providers say that a token ends in the year 9999.
func seconds(a, b time.Time) float64 {
	return float64(b.Unix()-a.Unix()) + float64(b.Nanosecond()-a.Nanosecond())/1e9
}

// lengthOf says how long so many seconds are.
func lengthOf(s float64) string {
	const year = 365 * 24 * 60 * 60
	if s >= 200*year {
		return fmt.Sprintf("%.0f years", math.Floor(s/year))
	}
	return span(time.Duration(s * float64(time.Second)))
}

// distance says how far away a time is.
func distance(t, now time.Time) string {
	switch s := seconds(now, t); {
	case math.Abs(s) < 1:
		return "now"
	case s > 0:
		return "in " + lengthOf(s)
	default:
		return lengthOf(-s) + " ago"
	}
}
