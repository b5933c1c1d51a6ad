// Bench measures what a token costs, here and in the libraries that a Go
// program would use otherwise, in one run on one machine:
//
//	cd internal/bench && go run .
//
// It prints tables. Speeds depend on the machine; the ratios between the rows
// of a table do not depend on it much. With names of tables as arguments it
// makes only those.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// A table is one question and its answer.
type table struct {
	name, question string
	make           func(w *tabwriter.Writer)
}

var tables = []table{
	{"hot", "A valid token, in memory: ns per call (the median of 5), allocations", hot},
	{"cache", "Manager.Token, in memory, by how many grants are there: ns per call", cacheSizes},
	{"client", "A round trip over a transport that does nothing", clients},
	{"expiry", "1000 goroutines calling all the time, a provider that takes 200 ms, three renewals", expiry},
	{"outage", "The provider answers 503 for 4 s while the token is still good", outage},
	{"short", "Tokens that live for 5 s, 10 goroutines, 8 s", short},
	{"impatient", "A caller with 100 ms to spare behind a renewal of 3 s", impatient},
	{"heap", "Memory for one grant with a token of 1200 bytes", heap},
	{"bounded", "1,000,000 grants in the store, 10,000 in use", bounded},
	{"discovery", "100,000 profiles of one issuer, and a cold process", discovery},
	{"herd", "10,000 tokens that end in the same second", herd},
	{"postgres", "Renewals per second on PostgreSQL, 64 at a time, beside a bare program with the same reads and writes", postgres},
}

func main() {
	flag.Parse()
	fmt.Printf("%s, %d processors, time.Now costs %.0f ns\n", runtime.Version(), runtime.GOMAXPROCS(0), clockCost())
	for _, t := range tables {
		if flag.NArg() > 0 && !slices.Contains(flag.Args(), t.name) {
			continue
		}
		fmt.Printf("\n%s: %s\n\n", t.name, t.question)
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
		t.make(w)
		w.Flush()
	}
}

func clockCost() float64 {
	const n = 1 << 20
	start := time.Now()
	last := start
	for range n {
		last = time.Now()
	}
	return float64(last.Sub(start)) / n
}

// row writes the cells of a row; the first is its name.
func row(w *tabwriter.Writer, cells ...any) {
	for _, c := range cells {
		switch c := c.(type) {
		case float64:
			fmt.Fprintf(w, "%.1f\t", c)
		case time.Duration:
			fmt.Fprintf(w, "%v\t", c.Round(10*time.Microsecond))
		default:
			fmt.Fprintf(w, "%v\t", c)
		}
	}
	fmt.Fprintln(w)
}
