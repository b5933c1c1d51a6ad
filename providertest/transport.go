package providertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
)

// maxBuffered is how much of an answer is held back until the handler returns
// or flushes.
const maxBuffered = 64 << 10

// Transport returns a transport that hands requests to the Server without a
// socket. For hosts where the Server has no endpoint it fails as if they did
// not exist.
//
// As over a socket, the Server goes on with a request whose client has left,
// a connection that it drops is an error of the client's, and the transport
// itself follows no redirect. It does not decompress.
func (s *Server) Transport() http.RoundTripper { return memoryTransport{s} }

type memoryTransport struct{ s *Server }

// errRefused says what systems say of a port on which there is no server. Their
// numbers for it are not the same everywhere, and Plan 9 has none.
var errRefused = errors.New("connection refused")

func (t memoryTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	var body []byte
	if req.Body != nil {
		var err error
		body, err = io.ReadAll(io.LimitReader(req.Body, maxBody+1))
		req.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !t.s.origins[req.URL.Scheme+"://"+req.URL.Host] {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{
			Err: "no such host", Name: req.URL.Hostname(), IsNotFound: true,
		}}
	}

	// The client's context ends the handler's, but lends it no values.
	hctx, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, cancel)
	in := req.Clone(hctx)
	in.Body = io.NopCloser(bytes.NewReader(body))
	in.ContentLength = int64(len(body))
	in.GetBody, in.Response = nil, nil
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
	in.RequestURI = req.URL.RequestURI()
	in.RemoteAddr = "192.0.2.1:1234" // reserved for documentation (RFC 5737)
	if in.Host == "" {
		in.Host = req.URL.Host
	}
	if in.Header == nil {
		in.Header = make(http.Header)
	}
	// As net/http does: it names itself, unless the client does; an empty name is
	// not sent.
	if _, ok := in.Header["User-Agent"]; !ok {
		in.Header.Set("User-Agent", "Go-http-client/1.1")
	} else if in.Header.Get("User-Agent") == "" {
		in.Header.Del("User-Agent")
	}
	// As net/http does: else a password in the address would be lost.
	if u := req.URL.User; u != nil && in.Header.Get("Authorization") == "" {
		password, _ := u.Password()
		in.SetBasicAuth(u.Username(), password)
	}

	w := &memoryWriter{header: make(http.Header), ready: make(chan struct{}), cancel: cancel}
	if !t.s.connect(w) {
		stop()
		cancel()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errRefused}
	}
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.WroteRequest != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{})
	}
	go func() {
		defer cancel()
		defer stop()
		defer t.s.disconnect(w)
		whole := false
		defer func() {
			// Any other panic is a bug in a test, and must be seen.
			if v := recover(); v != nil && v != http.ErrAbortHandler {
				panic(v)
			}
			w.finish(whole)
		}()
		t.s.serve(w, in)
		whole = true
	}()

	select {
	case <-w.ready:
	case <-ctx.Done():
		w.abort()
		return nil, ctx.Err()
	case <-t.s.done:
		w.abort()
		return nil, io.EOF
	}
	return w.response(req)
}

func (s *Server) connect(w *memoryWriter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[w] = true
	return true
}

func (s *Server) disconnect(w *memoryWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, w)
}

// A memoryWriter is the ResponseWriter of a request in memory. It keeps the
// body until the handler has returned, or has flushed, or has written much.
type memoryWriter struct {
	header http.Header   // the handler's
	cancel func()        // ends the handler's context
	ready  chan struct{} // closed when there is a response, or none to come

	mu     sync.Mutex
	status int
	sent   http.Header
	body   bytes.Buffer
	reader *io.PipeReader // not nil: the body is streamed
	writer *io.PipeWriter
	isOver bool // no longer wanted, or finished
	broken bool // the handler gave up before there was a response
	once   sync.Once
}

func (w *memoryWriter) Header() http.Header { return w.header }

func (w *memoryWriter) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writeHeader(status)
}

func (w *memoryWriter) writeHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *memoryWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.writeHeader(http.StatusOK)
	if w.reader == nil && w.body.Len()+len(p) <= maxBuffered {
		defer w.mu.Unlock()
		return w.body.Write(p)
	}
	w.mu.Unlock()
	if err := w.FlushError(); err != nil {
		return 0, err
	}
	return w.writer.Write(p)
}

// FlushError begins to stream the body. http.ResponseController calls it.
func (w *memoryWriter) FlushError() error {
	w.mu.Lock()
	w.writeHeader(http.StatusOK)
	if w.reader == nil {
		if w.isOver {
			w.mu.Unlock()
			return io.ErrClosedPipe
		}
		w.reader, w.writer = io.Pipe()
	}
	held := bytes.Clone(w.body.Bytes())
	w.body.Reset()
	w.mu.Unlock()
	w.once.Do(func() { close(w.ready) })
	if len(held) == 0 {
		return nil
	}
	_, err := w.writer.Write(held)
	return err
}

func (w *memoryWriter) Flush() { w.FlushError() }

// finish is called when the handler has returned, or has given up.
func (w *memoryWriter) finish(whole bool) {
	w.mu.Lock()
	w.isOver = true
	switch {
	case w.writer != nil && whole:
		w.writer.Close()
	case w.writer != nil:
		w.writer.CloseWithError(io.ErrUnexpectedEOF)
	case whole:
		w.writeHeader(http.StatusOK)
	default:
		w.broken = true
	}
	w.mu.Unlock()
	w.once.Do(func() { close(w.ready) })
}

// abort ends the response, because the client has left or the Server closes.
func (w *memoryWriter) abort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancel()
	w.isOver = true
	if w.writer != nil {
		w.writer.CloseWithError(io.ErrUnexpectedEOF)
	}
}

// response returns what the client gets, once w is ready.
func (w *memoryWriter) response(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken {
		return nil, io.EOF // what net/http says when the server hangs up
	}
	resp := &http.Response{
		Status:     fmt.Sprintf("%03d %s", w.status, http.StatusText(w.status)),
		StatusCode: w.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        w.sent,
		ContentLength: -1,
		Request:       req,
	}
	if n, err := strconv.ParseInt(w.sent.Get("Content-Length"), 10, 64); err == nil {
		resp.ContentLength = n
	}
	switch {
	case req.Method == http.MethodHead:
		resp.Body = http.NoBody
		if w.reader != nil {
			w.reader.Close()
		}
	case w.reader == nil:
		resp.ContentLength = int64(w.body.Len())
		resp.Body = io.NopCloser(bytes.NewReader(w.body.Bytes()))
	default:
		ctx, pipe := req.Context(), w.writer
		stop := context.AfterFunc(ctx, func() { pipe.CloseWithError(ctx.Err()) })
		resp.Body = &memoryBody{w.reader, stop}
	}
	return resp, nil
}

// A memoryBody is a streamed body. It ends with the client's context.
type memoryBody struct {
	*io.PipeReader
	stop func() bool
}

func (b *memoryBody) Read(p []byte) (int, error) {
	n, err := b.PipeReader.Read(p)
	if err != nil {
		b.stop()
	}
	return n, err
}

func (b *memoryBody) Close() error {
	b.stop()
	return b.PipeReader.Close()
}
