package cli

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/schollz/progressbar/v3"

	"github.com/authprofile/authprofile/sealed"
)

// maxProblems is how many records with problems are told of, one by one.
const maxProblems = 20

// walk goes through all records of the database, as sealed.Rotate and sealed.Usage do,
// and returns the last progress. On a terminal it shows how far it has come. Records
// with problems are told of on standard error, and counted in the result.
func (a *app) walk(ctx context.Context, what string, records iter.Seq2[sealed.Progress, error]) (sealed.Progress, error) {
	total, err := a.countRecords(ctx)
	if err != nil {
		return sealed.Progress{}, err
	}
	var bar *progressbar.ProgressBar
	if isTerminal(a.stderr) {
		bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(a.stderr),
			progressbar.OptionSetDescription(what),
			progressbar.OptionSetWidth(30),
			progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionClearOnFinish())
	}
	clear := func() {
		if bar != nil {
			bar.Clear()
		}
	}
	var last sealed.Progress
	var failed error
	problems := 0
	for p, err := range records {
		last, failed = p, err
		seen := p.Profiles + p.Grants
		if err != nil && p.Failed > problems {
			if problems = p.Failed; problems <= maxProblems {
				clear()
				fmt.Fprintln(a.stderr, "authprofile: "+clean(cmp.Or(recordProblems(err), strings.TrimPrefix(err.Error(), "authprofile: "))))
			}
		}
		switch {
		case bar != nil:
			bar.ChangeMax64(max(total, int64(seen))) // others may add some meanwhile
			bar.Set(seen)
		case a.flags.verbose:
			fmt.Fprintf(a.stderr, "authprofile: %s: %d of %d\n", what, seen, max(total, int64(seen)))
		}
	}
	clear()
	switch {
	case !last.Done:
		return last, failed
	case problems > maxProblems:
		fmt.Fprintf(a.stderr, "authprofile: and %d more\n", problems-maxProblems)
	}
	return last, nil
}

// countRecords returns how many records there are.
func (a *app) countRecords(ctx context.Context) (n int64, err error) {
	counts, err := a.opened.inner.CountGrants(ctx, "")
	if err != nil {
		return 0, err
	}
	for _, c := range counts {
		n += c
	}
	for after := ""; ; {
		profiles, _ := a.opened.inner.ListProfiles(ctx, after, page)
		n += int64(len(profiles))
		if len(profiles) < page {
			return n, nil // what is wrong with a record, the walk says
		}
		after = profiles[page-1].ID
	}
}
