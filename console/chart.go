package console

import (
	"fmt"
	"strconv"
	"time"
)

// A chart is a picture of how many grants end on which day. Its horizontal measures
// are in percent of its width, and its vertical ones in pixels, so that its text has
// the same size on every screen.
type chart struct {
	Text    string // the same in words
	Top     string // the number that a column of full height stands for
	Columns []column
	Ticks   []tick
}

// A column is one day on which grants end.
type column struct {
	Day    string
	Number string
	X      string // percent
	Width  string // percent
	Y      int    // pixels
	Height int    // pixels
}

// A tick is a day that is named below the picture.
type tick struct{ X, Text string }

// Where the picture is drawn, in pixels from the top. Its whole height is in the
// style sheet, since it needs no other.
const (
	chartTop  = 26
	chartBase = 146
)

// newChart draws what ends when, or returns nil if nothing does.
func newChart(ends *endingGrants) *chart {
	most, all, mostDay := 0, 0, 0
	for day, n := range ends.Days {
		all += n
		if n > most {
			most, mostDay = n, day
		}
	}
	if all == 0 {
		return nil
	}
	c := &chart{Top: number(int64(most))}
	c.Text = fmt.Sprintf("%s within %d weeks, unless they are used or connected again. The busiest day: %s, on %s.",
		plural(int64(all), "grant ends", "grants end"), surveyDays/7, c.Top, dayName(ends.First, mostDay))
	if all == 1 {
		c.Text = fmt.Sprintf("One grant ends within %d weeks, unless it is used or connected again: on %s.", surveyDays/7, dayName(ends.First, mostDay))
	}
	for day, n := range ends.Days {
		if day%7 == 0 {
			c.Ticks = append(c.Ticks, tick{percent(float64(day)), ends.First.AddDate(0, 0, day).Format("2 Jan")})
		}
		if n == 0 {
			continue
		}
		height := max(3, (chartBase-chartTop)*n/most) // one of a thousand can be seen, too
		c.Columns = append(c.Columns, column{
			Day: dayName(ends.First, day), Number: number(int64(n)),
			X: percent(float64(day) + .1), Width: percent(.8), Y: chartBase - height, Height: height,
		})
	}
	return c
}

// percent is where a number of days lies, or how wide it is.
func percent(days float64) string {
	return strconv.FormatFloat(days*100/surveyDays, 'f', 2, 64) + "%"
}

func dayName(first time.Time, day int) string {
	return first.AddDate(0, 0, day).Format("2 January 2006")
}

// number writes n with a comma after each thousand.
func number(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// plural says how many: "1 grant", "2,000 grants".
func plural(n int64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + more
}
