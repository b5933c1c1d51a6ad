// Package request reads what programs write to a credential helper.
//
// It stands alone so that its readers can be fuzzed without the database drivers
// of the command line. The caller bounds what is read.
package request

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

// ReadDocker reads the address of a server, with or without "https://".
func ReadDocker(r io.Reader) (string, error) {
	text, err := io.ReadAll(r)
	return strings.TrimSpace(string(text)), err
}

// ReadBazel reads the address that a token is wanted for. Other members than
// that may come with a later bazel.
func ReadBazel(r io.Reader) (string, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	var request struct {
		URI string `json:"uri"`
	}
	if err := json.Unmarshal(text, &request); err != nil || request.URI == "" {
		return "", errors.New(`the request on standard input is not {"uri": "https://…"}`)
	}
	return request.URI, nil
}

// ReadGoauth reads the head of the response to a request that has failed; nil
// if there is none.
func ReadGoauth(r io.Reader) (*http.Response, error) {
	lines := bufio.NewReader(r)
	if _, err := lines.Peek(1); err == io.EOF {
		return nil, nil
	}
	response, err := http.ReadResponse(lines, nil)
	if err != nil {
		return nil, errors.New("standard input has no response of an HTTP server")
	}
	return response, nil // its body is not read
}
