package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// The formats of commands that show something.
const (
	formatText = "text"
	formatJSON = "json"
)

// addOutput adds the flag --output to a command, with the formats that it has; the
// first is the default. None are text and JSON.
func addOutput(cmd *cobra.Command, formats ...string) {
	if formats == nil {
		formats = []string{formatText, formatJSON}
	}
	cmd.Flags().StringP("output", "o", formats[0], "`format`: "+strings.Join(formats, " or "))
	cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if format := cmd.Flag("output").Value.String(); !slices.Contains(formats, format) {
			return usagef(cmd, "--output is %s", strings.Join(formats, " or "))
		}
		return nil
	}
}

// An output writes what a command shows to standard output: columns for people on
// a terminal, lines with tabs for programs on a pipe, or JSON.
type output struct {
	w        io.Writer
	format   string
	terminal bool
	colours  bool
}

// output returns the output of a command that has the flag --output.
func (a *app) output(cmd *cobra.Command) *output {
	o := &output{w: a.stdout, format: cmd.Flag("output").Value.String(), terminal: isTerminal(a.stdout)}
	o.colours = o.terminal && a.env["NO_COLOR"] == "" && a.env["TERM"] != "dumb"
	return o
}

// isJSON reports whether JSON was asked for.
func (o *output) isJSON() bool { return o.format == formatJSON }

// json writes one value as JSON.
func (o *output) json(v any) error {
	text, err := marshal(v)
	if err != nil {
		return err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		return err
	}
	return o.write(indented.String() + "\n")
}

// marshal is json.Marshal that leaves "&" and its like as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// line writes a line of text.
func (o *output) line(format string, args ...any) error {
	return o.write(clean(fmt.Sprintf(format, args...)) + "\n")
}

func (o *output) write(text string) error {
	if _, err := io.WriteString(o.w, text); err != nil {
		return outputError{err}
	}
	return nil
}

// time writes a time: on a terminal that of the user's clock, elsewhere RFC 3339
// in UTC. The zero time is empty.
func (o *output) time(t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case o.terminal:
		return t.Local().Format("2006-01-02 15:04")
	}
	return t.UTC().Format(time.RFC3339)
}

// A colour is one of a terminal's.
type colour string

const (
	plain  colour = ""
	bold   colour = "1"
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
)

// paint returns a text in a colour, where there are colours.
func (o *output) paint(c colour, text string) string {
	if c == plain || !o.colours || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// A cell is one entry of a table, or the value of a field.
type cell struct {
	text   string
	colour colour
}

// cells makes cells without a colour.
func cells(texts ...string) []cell {
	row := make([]cell, len(texts))
	for i, t := range texts {
		row[i] = cell{text: t}
	}
	return row
}

// A table is a list that is written page by page: call row for each entry, flush
// after each page, and end.
type table struct {
	o     *output
	heads []string
	rows  [][]cell
	shown int // JSON values
}

// table begins a list whose columns have these heads. Only a terminal shows them.
func (o *output) table(heads ...string) *table { return &table{o: o, heads: heads} }

// row adds an entry: value is its JSON, row what else is shown of it.
func (t *table) row(value any, row []cell) error {
	if !t.o.isJSON() {
		t.rows = append(t.rows, row)
		return nil
	}
	text, err := marshal(value)
	if err != nil {
		return err
	}
	before := ",\n"
	if t.shown == 0 {
		before = "[\n"
	}
	t.shown++
	return t.o.write(before + string(text))
}

// flush writes the rows that were added since the last time.
func (t *table) flush() error {
	if t.o.isJSON() || len(t.rows) == 0 {
		return nil
	}
	rows := t.rows
	if t.o.terminal && t.heads != nil {
		heads := cells(t.heads...)
		for i := range heads {
			heads[i].colour = bold
		}
		rows = append([][]cell{heads}, rows...)
		t.heads = nil
	}
	text := t.o.align(rows)
	t.rows = nil
	return t.o.write(text)
}

// end ends the list.
func (t *table) end() error {
	if err := t.flush(); err != nil || !t.o.isJSON() {
		return err
	}
	if t.shown == 0 {
		return t.o.write("[]\n")
	}
	return t.o.write("\n]\n")
}

// align writes rows with their columns below one another on a terminal, and with
// tabs between them elsewhere.
func (o *output) align(rows [][]cell) string {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, c := range row {
			text := clean(c.text)
			b.WriteString(o.paint(c.colour, text))
			switch {
			case i == len(row)-1:
			case o.terminal:
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)+2))
			default:
				b.WriteByte('\t')
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// fields writes names and values, one pair a line. Those without a value are left
// out.
func (o *output) fields(pairs ...[]cell) error {
	pairs = slices.DeleteFunc(pairs, func(pair []cell) bool { return pair[1].text == "" })
	for _, pair := range pairs {
		pair[0].colour = bold
	}
	return o.write(o.align(pairs))
}
