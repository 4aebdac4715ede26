package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/minio/minio-go/v7"

	"pai.dev/pai/internal/backup"
)

const (
	// partSize is how much of an object is in memory, in bytes. S3 has 10,000 parts at
	// most, so that the largest content has enough of them.
	partSize = 16 << 20
	// partLimit is how long a part, or putting the parts together, can take.
	partLimit = 5 * time.Minute
	// abortLimit bounds the removal of an upload that failed.
	abortLimit = 15 * time.Second
)

// upload writes an object. One that is larger than a part becomes a multipart upload,
// which has no key before it is finished.
type upload struct {
	ctx    context.Context
	target *target
	key    string
	object string
	buffer []byte
	size   int64
	id     string // of the multipart upload; empty before it
	parts  []minio.CompletePart
}

func (u *upload) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		if len(u.buffer) == partSize {
			if err := u.send(); err != nil {
				return written, err
			}
		}
		n := min(partSize-len(u.buffer), len(p))
		u.buffer = append(u.buffer, p[:n]...)
		p, written = p[n:], written+n
		if u.size += int64(n); u.size > backup.MaxObject {
			return written, fmt.Errorf("%s has more than %d bytes", u.key, int64(backup.MaxObject))
		}
	}
	return written, nil
}

// send sends the buffer as the next part.
func (u *upload) send() error {
	t := u.target
	if u.id == "" {
		err := t.call(u.ctx, callLimit, "begin the upload of "+u.key, func(ctx context.Context) (err error) {
			u.id, err = t.core.NewMultipartUpload(ctx, t.bucket, u.object, minio.PutObjectOptions{})
			return err
		})
		if err != nil {
			return err
		}
	}
	number := len(u.parts) + 1
	return t.call(u.ctx, partLimit, fmt.Sprintf("write part %d of %s", number, u.key), func(ctx context.Context) error {
		part, err := t.core.PutObjectPart(ctx, t.bucket, u.object, u.id, number, bytes.NewReader(u.buffer), int64(len(u.buffer)),
			minio.PutObjectPartOptions{Sha256Hex: digest(u.buffer), DisableContentSha256: true})
		if err == nil {
			u.parts = append(u.parts, minio.CompletePart{PartNumber: number, ETag: part.ETag})
			u.buffer = u.buffer[:0]
		}
		return err
	})
}

// finish gives the object its key.
func (u *upload) finish() error {
	t := u.target
	if u.id == "" {
		return t.call(u.ctx, partLimit, "write "+u.key, func(ctx context.Context) error {
			_, err := t.core.PutObject(ctx, t.bucket, u.object, bytes.NewReader(u.buffer), int64(len(u.buffer)), "", digest(u.buffer),
				minio.PutObjectOptions{DisableContentSha256: true})
			return err
		})
	}
	if err := u.send(); err != nil {
		return err
	}
	return t.call(u.ctx, partLimit, "finish the upload of "+u.key, func(ctx context.Context) error {
		_, err := t.core.CompleteMultipartUpload(ctx, t.bucket, u.object, u.id, u.parts, minio.PutObjectOptions{})
		return err
	})
}

// abort removes the parts of an upload that failed, also after an interrupt.
func (u *upload) abort(ctx context.Context) error {
	if u.id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortLimit)
	defer cancel()
	return u.target.abort(ctx, u.key, u.object, u.id)
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
