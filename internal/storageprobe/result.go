package storageprobe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// MaxAnswer bounds the result that a machine sends, in bytes.
const MaxAnswer = 64 << 10

// ReadResult reads the result that a machine printed, which can be anything: texts are
// printable, and numbers are not negative.
func ReadResult(data []byte) (Result, error) {
	if len(data) > MaxAnswer {
		return Result{}, fmt.Errorf("the result has more than %d bytes", MaxAnswer)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	var r Result
	if err := d.Decode(&r); err != nil {
		return Result{}, fmt.Errorf("read the result: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Result{}, errors.New("read the result: there is more than one")
	}
	if r.Problem != "" && !slices.Contains(problems(), r.Problem) {
		r.Detail = string(r.Problem) + ": " + r.Detail
		r.Problem = Failed
	}
	for _, text := range []*string{&r.Detail, &r.FileSystem, &r.NFSVersion} {
		*text = Printable(*text)
	}
	for _, figure := range []*float64{&r.WriteMBs, &r.ReadMBs, &r.LatencyMs} {
		*figure = max(*figure, 0)
	}
	r.FreeBytes = max(r.FreeBytes, 0)
	return r, nil
}
