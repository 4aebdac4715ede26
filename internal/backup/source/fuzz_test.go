package source

import (
	"bufio"
	"bytes"
	"io"
	"testing"
)

// FuzzBackupOfMachine reads what a machine sends as its backup.
func FuzzBackupOfMachine(f *testing.F) {
	f.Add([]byte("{}\n{}\n"))
	f.Add([]byte("{\"hash\":1}\n{\"x\":[]}\n" + string(make([]byte, 1024))))
	f.Fuzz(func(t *testing.T, data []byte) {
		read := int64(0)
		_ = parse(bufio.NewReader(bytes.NewReader(data)), func(Facts) error { return nil }, func(_ string, _ int64, content io.Reader) error {
			n, err := io.Copy(io.Discard, content)
			read += n
			return err
		})
		if read > int64(len(data)) {
			t.Errorf("%d bytes became %d", len(data), read)
		}
	})
}
