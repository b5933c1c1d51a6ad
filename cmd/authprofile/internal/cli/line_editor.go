package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// editLine makes standard input give whole lines. If it is a terminal, that takes no
// line that is longer than 4095 bytes (on macOS 1023), and cuts what is pasted: it is
// then read byte by byte. Until restore is called, a line break on the terminal is
// "\r\n". Otherwise restore is nil.
func (a *app) editLine() (restore func(), err error) {
	f, ok := a.stdin.(*os.File)
	if !ok || !a.canAsk() {
		return nil, nil
	}
	state, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	a.stdin = &lineEditor{r: f, w: a.stderr}
	return func() {
		a.stdin = f
		term.Restore(int(f.Fd()), state)
	}, nil
}

// A lineEditor reads lines of any length from a terminal in raw mode, and echoes them
// unless it is silent. It reads no further than the end of a line. Backspace and Ctrl-U work as ever; so do Ctrl-C, which is errInterrupted, and Ctrl-D.
type lineEditor struct {
	r      io.Reader
	w      io.Writer
	silent bool

	line  []byte
	ready []byte // a line that was ended
}

// The keys that a terminal in raw mode leaves to its program.
const (
	ctrlC = 0x03
	ctrlD = 0x04
	ctrlH = 0x08
	ctrlU = 0x15
	del   = 0x7f
)

func (e *lineEditor) Read(b []byte) (int, error) {
	for len(e.ready) == 0 {
		var key [1]byte
		if _, err := e.r.Read(key[:]); err != nil {
			return 0, err
		}
		switch k := key[0]; {
		case k == '\r' || k == '\n':
			e.ready, e.line = append(e.line, '\n'), nil
			io.WriteString(e.w, "\r\n")
		case k == ctrlC:
			return 0, errInterrupted
		case k == ctrlD && len(e.line) == 0:
			return 0, io.EOF
		case k == ctrlH || k == del:
			e.erase(1)
		case k == ctrlU:
			e.erase(len(e.line))
		case k >= ' ':
			e.line = append(e.line, k)
			e.echo(string(key[:]))
		}
	}
	n := copy(b, e.ready)
	e.ready = e.ready[n:]
	return n, nil
}

// erase removes the last bytes of the line.
func (e *lineEditor) erase(n int) {
	for ; n > 0 && len(e.line) > 0; n-- {
		e.line = e.line[:len(e.line)-1]
		e.echo("\b \b")
	}
}

func (e *lineEditor) echo(text string) {
	if !e.silent {
		io.WriteString(e.w, text)
	}
}
