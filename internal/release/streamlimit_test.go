package release

import (
	"bytes"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// What unpacks to more than a layer can have is an error, and not a shorter layer.
func TestLayersThatUnpackWithoutEndAreRefused(t *testing.T) {
	t.Parallel()
	for left, ok := range map[int64]bool{1000: true, 999: false} {
		got, err := io.Copy(io.Discard, &limitedReader{from: bytes.NewReader(make([]byte, 1000)), left: left})
		if (err == nil) != ok || ok && got != 1000 {
			t.Errorf("limit %d: got %d, %v, want all %v", left, got, err, ok)
		}
	}
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed, zstd.WithWindowSize(2*maxWindow))
	if err == nil {
		_, err = w.Write(make([]byte, 3*maxWindow))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := zstd.NewReader(&packed, zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err == nil {
		t.Error("a layer takes as much memory as it says")
	}
}
