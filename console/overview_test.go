package console_test

import (
	"encoding/xml"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/console"
)

var regexpHref = regexp.MustCompile(`href="([^"]*)"`)

// An empty console says how to begin, and one that shows things only does not.
func TestOverviewOfAnEmptyConsole(t *testing.T) {
	m := new(authprofile.Manager)
	b := open(t, &console.Handler{Manager: m, Operator: operator})
	b.get("").wants(t, 200, "Nothing is set up yet", `href="new-profile"`, "No grant is known to end")

	b = open(t, &console.Handler{Manager: m, Operator: operator, ReadOnly: true})
	a := b.get("")
	a.wants(t, 200, "Nothing is set up yet")
	a.lacks(t, "new-profile")

	s := newWatchedStore()
	putProfile(t, s, "crm", "Customers", nil)
	_, b = watch(t, s)
	a = b.get("")
	a.wants(t, 200, `In <a href="profiles">1 profile</a>`)
	a.lacks(t, "Nothing is set up yet")
}

// The counts are links to the lists, in words and with the thousands told apart.
func TestOverviewCounts(t *testing.T) {
	s := newWatchedStore()
	for i := range 1234 {
		put(t, s, "crm", strconv.Itoa(i), authprofile.StatusActive, nil)
	}
	put(t, s, "crm", "failing", authprofile.StatusFailing, nil)
	put(t, s, "crm", "user", authprofile.StatusNeedsReauthorization, nil)
	_, b := watch(t, s)
	b.get("").inOrder(t,
		`href="grants?status=active"`, figure("1,234"), ">Active<",
		`href="grants?status=failing"`, figure("1"), ">Retrying<",
		`href="grants?status=needs_reauthorization"`, figure("1"), ">Needs its user<",
		`href="grants?status=needs_configuration"`, figure("0"), ">Needs an administrator<",
		"Counted at <time")
	b.get("attention").wants(t, 200, "1 grant is being retried.", `href="grants?status=failing"`)
}

// An svgPicture is what the picture of the overview has.
type svgPicture struct {
	Role       string `xml:"role,attr"`
	LabelledBy string `xml:"aria-labelledby,attr"`
	Texts      []struct {
		pictureBox
		Text string `xml:",chardata"`
	} `xml:"text"`
	Columns []struct {
		Title string `xml:"title"`
		pictureBox
	} `xml:"rect"`
}

type pictureBox struct {
	X      string `xml:"x,attr"`
	Y      string `xml:"y,attr"`
	Width  string `xml:"width,attr"`
	Height string `xml:"height,attr"`
}

// in is a length in a picture of that width.
func in(t *testing.T, length string, width float64) float64 {
	t.Helper()
	text, isPercent := strings.CutSuffix(length, "%")
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatalf("got length %q, want a number", length)
	}
	if isPercent {
		return n * width / 100
	}
	return n
}

// The picture says in columns what the text and the table say, its texts are apart
// from each other and from the columns on the smallest screens, and it has no colours
// of its own.
func TestOverviewPicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(9*day + 11*time.Hour) // so that days have two digits
		s := newWatchedStore()
		for i := range 1000 {
			put(t, s, "crm", fmt.Sprintf("a%d", i), authprofile.StatusActive, ends(3*day))
		}
		put(t, s, "crm", "today", authprofile.StatusActive, ends(time.Minute))
		put(t, s, "crm", "last", authprofile.StatusActive, ends(34*day))
		put(t, s, "crm", "after", authprofile.StatusActive, ends(35*day))
		_, b := watch(t, s)
		a := b.get("")
		a.wants(t, 200, "1,002 grants end within 5 weeks", "The busiest day: 1,000, on 13 January 2000.", `<th scope="row">13 January 2000</th><td class="number">1,000</td>`)
		begin, end := strings.Index(a.body, "<svg"), strings.Index(a.body, "</svg>")
		if begin < 0 || end < begin {
			t.Fatalf("got no picture:\n%s", a.body)
		}
		source := a.body[begin : end+len("</svg>")]
		for _, bad := range []string{"style=", "fill=", "stroke=", "#"} {
			if strings.Contains(source, bad) {
				t.Errorf("got a picture with %q, want colours from the style sheet alone", bad)
			}
		}
		var picture svgPicture
		if err := xml.Unmarshal([]byte(source), &picture); err != nil {
			t.Fatal(err)
		}
		if picture.Role != "img" || !strings.Contains(a.body, `id="`+picture.LabelledBy+`"`) {
			t.Errorf("got role %q, labelled by %q, want an image with a text on the page", picture.Role, picture.LabelledBy)
		}
		if len(picture.Columns) != 3 || picture.Columns[1].Title != "13 January 2000: 1,000" {
			t.Errorf("got columns %v, want three, the second of which is 13 January", picture.Columns)
		}
		// A page of 320 pixels leaves 250 for the picture.
		for _, width := range []float64{250, 320, 768} {
			const size, height = 12, 175
			b.get("style.css").wants(t, 200, fmt.Sprintf("font-size: %dpx", size), fmt.Sprintf("height: %dpx", height))
			var boxes [][4]float64 // left, top, right, bottom
			for _, text := range picture.Texts {
				x, y := in(t, text.X, width), in(t, text.Y, width)
				boxes = append(boxes, [4]float64{x, y - size, x + .62*size*float64(len(text.Text)), y + .3*size})
			}
			for _, c := range picture.Columns {
				x, y, w, h := in(t, c.X, width), in(t, c.Y, width), in(t, c.Width, width), in(t, c.Height, width)
				if w < 2 || h < 3 {
					t.Errorf("at %v: got a column of %v by %v, want one that can be seen", width, w, h)
				}
				boxes = append(boxes, [4]float64{x, y, x + w, y + h})
			}
			for i, box := range boxes {
				if box[0] < 0 || box[1] < 0 || box[2] > width || box[3] > height {
					t.Errorf("at %v: got %v, want it within the picture", width, box)
				}
				for _, other := range boxes[:i] {
					if box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3] {
						t.Errorf("at %v: got %v and %v, which overlap", width, box, other)
					}
				}
			}
		}
		if tall, small := in(t, picture.Columns[1].Height, 0), in(t, picture.Columns[0].Height, 0); tall != 120 || small >= tall {
			t.Errorf("got heights %v and %v, want 120 of the most, and less of one", tall, small)
		}
	})
}

// Pages are small, also where all texts are as long as can be.
func TestPagesAreSmall(t *testing.T) {
	s := newWatchedStore()
	user := strings.Repeat("\U0001f600", 127)
	for i := range 30 {
		id := strings.Repeat("\u00fc", 126) + strconv.Itoa(100+i)
		putProfile(t, s, id, strings.Repeat(`"&`, 1000), func(p *authprofile.Profile) { p.SecretExpires = time.Now() })
		put(t, s, id, user+"1", authprofile.StatusNeedsConfiguration, failed(authprofile.ReasonClient, time.Hour))
		put(t, s, id, user+"2", authprofile.StatusNeedsReauthorization, failed(authprofile.ReasonRevoked, time.Hour))
		put(t, s, id, user+"3", authprofile.StatusActive, ends(time.Duration(i)*day+time.Hour))
	}
	_, b := watch(t, s)
	for page, most := range map[string]int{"": 50_000, "attention": 85_000} {
		a := b.get(page)
		a.wants(t, 200, "\u2026")
		if len(a.body) > most {
			t.Errorf("page %q: got %d bytes, want at most %d", page, len(a.body), most)
		}
	}
	b.get("attention").wants(t, 200, "See all grants that need")
}
