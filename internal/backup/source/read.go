package source

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"pai.dev/pai/internal/layout"
)

// Facts are what the snapshot of a backup held when it was served.
type Facts struct {
	Revision, Keys, Secrets int64
	// SecretKey and SecretValue are one Secret as etcd stores it; the key is empty if
	// there is none.
	SecretKey   string
	SecretValue []byte
	// Jobs are the keys of etcd that belong to jobs, with their values.
	Jobs map[string][]byte
}

// Reader passes on what Script prints: first the facts, then each file.
type Reader func(facts func(Facts) error, file func(name string, size int64, from io.Reader) error) error

// Printed is what etcdctl prints.
type Printed struct {
	KVs []struct {
		Key      []byte `json:"key"`
		Value    []byte `json:"value"`
		Created  int64  `json:"create_revision"`
		Modified int64  `json:"mod_revision"`
	} `json:"kvs"`
}

// AddValues adds the keys that etcdctl printed, with their values.
func AddValues(data []byte, into map[string][]byte) error {
	var answer Printed
	if err := json.Unmarshal(data, &answer); err != nil {
		return err
	}
	for _, kv := range answer.KVs {
		into[string(kv.Key)] = kv.Value
	}
	return nil
}

// Read runs a Script and passes on what it prints. run ends when its context does.
func Read(ctx context.Context, run func(ctx context.Context, stdout io.Writer) error, facts func(Facts) error,
	file func(name string, size int64, from io.Reader) error) error {
	printed, to := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, to)
		to.CloseWithError(err)
		ended <- err
	}()
	from := bufio.NewReaderSize(printed, 1<<20)
	err := parse(from, facts, file)
	if err == nil {
		_, err = io.Copy(io.Discard, from) // the end of the tar
	}
	printed.CloseWithError(errors.New("the rest is not read")) // ends the script after an error
	if failed := <-ended; failed != nil && (err == nil || errors.Is(err, failed)) {
		err = failed
	}
	return err
}

// maxLine bounds a line of the facts: the values of one kind of objects.
const maxLine = 2 << 30

func parse(from *bufio.Reader, facts func(Facts) error, file func(string, int64, io.Reader) error) error {
	found, err := parseFacts(from)
	if err != nil {
		return err
	}
	if err := facts(found); err != nil {
		return err
	}
	entries := tar.NewReader(from)
	for {
		header, err := entries.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case header.Typeflag == tar.TypeDir:
			continue
		case header.Typeflag != tar.TypeReg:
			return fmt.Errorf("%q is not a regular file", header.Name)
		case strings.HasPrefix(path.Base(header.Name), layout.TemporaryPrefix):
			continue // being written
		}
		if err := file(header.Name, header.Size, entries); err != nil {
			return err
		}
	}
}

func parseFacts(from *bufio.Reader) (f Facts, err error) {
	line := func(what string, into any) error {
		data, err := readLine(from, maxLine)
		if err == nil {
			err = json.Unmarshal(data, into)
		}
		if err != nil {
			return fmt.Errorf("read %s of the snapshot: %w", what, err)
		}
		return nil
	}
	var status struct {
		Revision int64 `json:"revision"`
		Keys     int64 `json:"totalKey"`
	}
	var secret struct {
		Printed
		Count int64 `json:"count"` // of all Secrets
	}
	if err := errors.Join(line("the status", &status), line("a Secret", &secret)); err != nil {
		return f, err
	}
	f.Revision, f.Keys, f.Secrets = status.Revision, status.Keys, secret.Count
	if len(secret.KVs) > 0 {
		f.SecretKey, f.SecretValue = string(secret.KVs[0].Key), secret.KVs[0].Value
	}
	if f.Keys == 0 {
		return f, errors.New("the snapshot holds no keys")
	}
	f.Jobs = map[string][]byte{}
	for range JobPrefixes() {
		text, err := readLine(from, maxLine)
		if err == nil {
			err = AddValues(text, f.Jobs)
		}
		if err != nil {
			return f, fmt.Errorf("read the jobs of the snapshot: %w", err)
		}
	}
	return f, nil
}

// readLine reads a line of at most limit bytes.
func readLine(from *bufio.Reader, limit int) ([]byte, error) {
	var line bytes.Buffer
	for {
		part, err := from.ReadSlice('\n')
		line.Write(part)
		switch {
		case line.Len() > limit:
			return nil, fmt.Errorf("a line has more than %d bytes", limit)
		case err == nil:
			return line.Bytes(), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}
