package inspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"pai.dev/pai/internal/fingerprint"
)

// Limits of what the two sides read.
const (
	maxRequest = 1 << 20
	MaxAnswer  = 16 << 20
)

// Answer reads a request and writes a report as
//
//	\n<token> <length> <sha256>\n<JSON>\n
//
// so that nothing which a login shell or sshd prints can be treated as an answer,
// and no part of one as the whole.
func Answer(in io.Reader, out io.Writer, fill func(Request) Report) error {
	data, err := io.ReadAll(io.LimitReader(in, maxRequest+1))
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	if len(data) > maxRequest {
		return fmt.Errorf("the request has more than %d bytes", maxRequest)
	}
	var r Request
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	if r.Token == "" || strings.ContainsFunc(r.Token, func(c rune) bool { return c <= ' ' }) {
		return errors.New("the request has no token")
	}
	answer, err := json.Marshal(fill(r))
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	_, err = fmt.Fprintf(out, "\n%s %d %s\n%s\n", r.Token, len(answer), fingerprint.Of(answer), answer)
	return err
}

// ReadAnswer finds the report with a token in an output.
func ReadAnswer(out []byte, token string) (Report, error) {
	var r Report
	_, answer, found := bytes.Cut(out, []byte("\n"+token+" "))
	if !found {
		return r, errors.New("the output has no answer")
	}
	head, answer, _ := bytes.Cut(answer, []byte("\n"))
	length, sum, _ := strings.Cut(string(head), " ")
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 || n >= len(answer) || fingerprint.Of(answer[:n]) != sum {
		return r, errors.New("the answer is incomplete")
	}
	if err := json.Unmarshal(answer[:n], &r); err != nil {
		return r, fmt.Errorf("read the answer: %w", err)
	}
	return r, nil
}
