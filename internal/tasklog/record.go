package tasklog

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"time"
)

// maxRecord is the length of a record that is read; the runtime writes at most 16 KiB of
// output in one.
const maxRecord = 256 << 10

// record is a line of a file of the runtime: a line of output, or a part of one.
type record struct {
	time    time.Time
	stamp   []byte // the time as it is written
	ends    bool   // the output ends a line here
	content []byte // valid until the next record is read
}

// errDamaged is the error of a line that is not a record.
var errDamaged = errors.New("not a record of the runtime")

// records reads a file.
type records struct{ lines *bufio.Reader }

func newRecords(r io.Reader) records { return records{bufio.NewReaderSize(r, maxRecord)} }

// next returns the next record; errDamaged if the line is none, after which the next one
// can be read; io.EOF after the last whole line.
func (r records) next() (record, error) {
	line, err := r.lines.ReadSlice('\n')
	if err == nil {
		return parseRecord(line[:len(line)-1])
	}
	if !errors.Is(err, bufio.ErrBufferFull) {
		return record{}, err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.lines.ReadSlice('\n')
	}
	if err == nil {
		err = errDamaged
	}
	return record{}, err
}

// parseRecord reads TIME STREAM TAGS CONTENT; the first tag is F at the end of a line of
// output, or P.
func parseRecord(line []byte) (record, error) {
	stamp, rest, hasTime := bytes.Cut(line, []byte(" "))
	stream, rest, hasStream := bytes.Cut(rest, []byte(" "))
	tags, content, hasTags := bytes.Cut(rest, []byte(" "))
	if !hasTime || !hasStream || !hasTags || string(stream) != "stdout" && string(stream) != "stderr" {
		return record{}, errDamaged
	}
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	tag, _, _ := bytes.Cut(tags, []byte(":"))
	if err != nil || string(tag) != "F" && string(tag) != "P" {
		return record{}, errDamaged
	}
	return record{time: at, stamp: stamp, ends: string(tag) == "F", content: content}, nil
}
