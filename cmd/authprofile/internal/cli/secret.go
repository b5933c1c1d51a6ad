package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/authprofile/authprofile"
)

// secretSources is what the flags and members say that name where a secret is.
const secretSources = "prompt, stdin, file:PATH or env:NAME"

// maxSecret bounds a secret, in bytes.
const maxSecret = 64 << 10

// secret reads a secret from where a source says: "prompt", "stdin", "file:PATH"
// or "env:NAME". What is what it is called at the prompt. A line break at its end
// is not part of it.
func (a *app) secret(ctx context.Context, source, what string) (authprofile.Secret, error) {
	kind, name, _ := strings.Cut(source, ":")
	var text string
	switch {
	case source == "prompt":
		if !a.canAsk() {
			return "", usageError{problem: what + ": a prompt needs a terminal: take stdin, file:PATH or env:NAME"}
		}
		secret, err := a.askSecret(ctx, what)
		if err != nil {
			return "", err
		}
		text = string(secret)
	case source == "stdin":
		content, err := a.readInput(ctx)
		if err != nil {
			return "", fmt.Errorf("%s from standard input: %w", what, err)
		}
		text = content
	case kind == "file" && name != "":
		f, err := os.Open(name)
		if err != nil {
			return "", fmt.Errorf("%s: %w", what, err)
		}
		defer f.Close()
		content, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
		if err != nil {
			return "", fmt.Errorf("%s: %w", what, err)
		}
		text = string(content)
	case kind == "env" && name != "":
		value, ok := a.env[name]
		if !ok {
			return "", fmt.Errorf("%s: there is no variable %s in the environment", what, name)
		}
		os.Unsetenv(name) // no child needs it
		text = value
	default:
		return "", usageError{problem: what + " comes from " + secretSources + ", and is not said itself"}
	}
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	switch {
	case len(text) > maxSecret:
		return "", fmt.Errorf("%s is longer than 64 KiB", what)
	case text == "" && source != "prompt":
		return "", fmt.Errorf("%s is empty there", what)
	}
	return authprofile.Secret(text), nil
}

// canAsk reports whether there is a person to ask: standard input is a terminal,
// and so is standard error, where the questions are.
func (a *app) canAsk() bool { return isTerminal(a.stdin) && isTerminal(a.stderr) }

// ask asks for a line. Given is the answer of an empty one.
func (a *app) ask(ctx context.Context, question, given string) (string, error) {
	if given != "" {
		question += " [" + given + "]"
	}
	fmt.Fprint(a.stderr, clean(question)+": ")
	select {
	case line := <-a.input.next(a.stdin):
		a.input.taken()
		if line.text == "" && line.err == nil {
			line.text = given
		}
		return line.text, line.err
	case <-ctx.Done():
		fmt.Fprintln(a.stderr)
		return "", ctx.Err()
	}
}

// confirm asks a question that only "yes", or "y", answers in the affirmative.
func (a *app) confirm(ctx context.Context, question string) (bool, error) {
	answer, err := a.ask(ctx, question+" [y/N]", "")
	answer = strings.ToLower(answer)
	return answer == "y" || answer == "yes", err
}

// askSecret asks for a secret, without an echo: that is off before the question is
// there, as some people type, or paste, at once.
func (a *app) askSecret(ctx context.Context, what string) (authprofile.Secret, error) {
	f, ok := a.stdin.(*os.File)
	if !ok {
		return "", errors.New("standard input is not a terminal")
	}
	state, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return "", err
	}
	defer term.Restore(int(f.Fd()), state)
	fmt.Fprint(a.stderr, clean(what)+": ")
	answers := make(chan inputLine, 1)
	go func() {
		text, err := bufio.NewReader(&lineEditor{r: f, w: a.stderr, silent: true}).ReadString('\n')
		if err == io.EOF {
			err = errNoAnswer
		}
		answers <- inputLine{strings.TrimSuffix(text, "\n"), err}
	}()
	select {
	case got := <-answers:
		return authprofile.Secret(got.text), got.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// errInterrupted says that the user has pressed Ctrl-C.
var errInterrupted = errors.New("interrupted")

// errNoAnswer says that standard input has ended before an answer.
var errNoAnswer = errors.New("standard input has ended without an answer")

// A lineReader reads standard input line by line. A read cannot be ended, so that it
// goes on in the background when a context has ended; and it begins only when a line
// is wanted, so that the next one can be read otherwise, as a secret is.
type lineReader struct {
	reader *bufio.Reader
	line   chan inputLine // being read; nil: none
}

type inputLine struct {
	text string
	err  error
}

// next returns a channel with the next line. The caller that has received it calls taken.
func (l *lineReader) next(r io.Reader) <-chan inputLine {
	if l.reader == nil {
		l.reader = bufio.NewReader(r)
	}
	if l.line == nil {
		line := make(chan inputLine, 1)
		l.line = line
		go func() {
			text, err := l.reader.ReadString('\n')
			if text != "" {
				err = nil // the end comes with the next read
			} else if err == io.EOF {
				err = errNoAnswer
			}
			line <- inputLine{strings.TrimSpace(text), err}
		}()
	}
	return l.line
}

// taken says that the line was received.
func (l *lineReader) taken() { l.line = nil }

// readInput reads standard input to its end.
func (a *app) readInput(ctx context.Context) (string, error) {
	type content struct {
		text []byte
		err  error
	}
	read := make(chan content, 1)
	go func() {
		text, err := io.ReadAll(io.LimitReader(a.stdin, 16<<20))
		read <- content{text, err}
	}()
	select {
	case got := <-read:
		return string(got.text), got.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
