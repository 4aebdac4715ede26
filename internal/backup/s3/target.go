package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"pai.dev/pai/internal/backup"
)

const (
	// callLimit is how long a server can take for an answer.
	callLimit = time.Minute
	// listLimit is how long a list can take, with all its pages.
	listLimit = 5 * time.Minute
	// slowest is the rate below which an object is not read to its end, in bytes per second.
	slowest = 64 << 10
	// maxObjects bounds a list. A backup has three objects.
	maxObjects = 100_000
	// maxPages bounds a list of uploads, whose pages can be empty.
	maxPages = 1000
)

// target is a backup.Target in a bucket.
type target struct {
	core           *minio.Core
	bucket, prefix string // prefix ends with a slash, or is empty
	endpoint       string // URL
}

func (t *target) String() string { return strings.TrimSuffix(scheme+t.bucket+"/"+t.prefix, "/") }

// object is the key in the bucket.
func (t *target) object(key string) (string, error) {
	if _, _, err := backup.SplitKey(key); err != nil {
		return "", err
	}
	return t.prefix + key, nil
}

// keyOf is the inverse of object. ok is false for what is no object of a backup.
func (t *target) keyOf(object string) (key string, ok bool) {
	key, ok = strings.CutPrefix(object, t.prefix)
	if !ok {
		return "", false
	}
	_, _, err := backup.SplitKey(key)
	return key, err == nil
}

// call bounds what is asked of the server, and explains its errors.
func (t *target) call(ctx context.Context, limit time.Duration, what string, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it was not done within %s", limit))
	defer cancel()
	if err := do(ctx); err != nil {
		return t.explain(ctx, what, err)
	}
	return nil
}

// Reach finds out whether the bucket of a target can be listed. It returns nil for other
// targets.
func Reach(ctx context.Context, of backup.Target) error {
	t, ok := of.(*target)
	if !ok {
		return nil
	}
	return t.call(ctx, callLimit, "look for backups", func(ctx context.Context) error {
		next, stop := iter.Pull(t.core.ListObjectsIter(ctx, t.bucket, t.listOptions(1)))
		defer stop()
		if first, found := next(); found {
			return first.Err
		}
		return ctx.Err()
	})
}

func (t *target) Put(ctx context.Context, key string, write func(io.Writer) error) error {
	object, err := t.object(key)
	if err != nil {
		return err
	}
	err = t.call(ctx, callLimit, "look for "+key, func(ctx context.Context) error {
		_, err := t.core.StatObject(ctx, t.bucket, object, minio.StatObjectOptions{})
		return err
	})
	if err == nil {
		return fmt.Errorf("%s in %s: %w", key, t, fs.ErrExist)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	u := &upload{ctx: ctx, target: t, key: key, object: object}
	if err = write(u); err == nil {
		err = u.finish()
	}
	if err != nil {
		return errors.Join(err, u.abort(ctx))
	}
	return nil
}

func (t *target) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	object, err := t.object(key)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	r := &reader{ctx: ctx, cancel: cancel, target: t, key: key}
	limit := r.limit(callLimit)
	from, info, _, err := t.core.GetObject(ctx, t.bucket, object, minio.GetObjectOptions{})
	limit.Stop()
	if err == nil && (info.Size < 0 || info.Size > backup.MaxObject) {
		err = errors.Join(from.Close(), fmt.Errorf("it has %d bytes; the limit is %d", info.Size, int64(backup.MaxObject)))
	}
	if err != nil {
		err = t.explain(ctx, "read "+key, err)
		cancel(nil)
		return nil, err
	}
	r.from = from
	r.whole = r.limit(callLimit + time.Duration(info.Size/slowest)*time.Second)
	return r, nil
}

func (t *target) listOptions(page int) minio.ListObjectsOptions {
	return minio.ListObjectsOptions{Prefix: t.prefix, Recursive: true, MaxKeys: page, FetchOwner: new(bool)}
}

func (t *target) List(ctx context.Context) ([]string, error) {
	keys, err := t.objects(ctx)
	if err != nil {
		return nil, err
	}
	uploads, err := t.uploads(ctx, t.prefix)
	if err != nil && !unknown(err) {
		return nil, err
	}
	for _, u := range uploads {
		if key, ok := t.keyOf(u.Key); ok {
			name, _, _ := strings.Cut(key, "/")
			keys = append(keys, name+"/")
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// objects are the keys of what is complete. Other objects in the bucket are left out.
func (t *target) objects(ctx context.Context) (keys []string, err error) {
	err = t.call(ctx, listLimit, "list the backups", func(ctx context.Context) error {
		found := 0
		for o := range t.core.ListObjectsIter(ctx, t.bucket, t.listOptions(0)) {
			if o.Err != nil {
				return o.Err
			}
			if found++; found > maxObjects {
				return fmt.Errorf("there are more than %d objects; give the backups a dedicated prefix", maxObjects)
			}
			if key, ok := t.keyOf(o.Key); ok {
				keys = append(keys, key)
			}
		}
		return ctx.Err()
	})
	return keys, err
}

// uploads are those in progress, and those that were interrupted, below a prefix.
func (t *target) uploads(ctx context.Context, prefix string) (all []minio.ObjectMultipartInfo, err error) {
	err = t.call(ctx, listLimit, "list the incomplete uploads", func(ctx context.Context) error {
		var key, id string
		for range maxPages {
			page, err := t.core.ListMultipartUploads(ctx, t.bucket, prefix, key, id, "", 0)
			if err != nil {
				return err
			}
			if all = append(all, page.Uploads...); len(all) > maxObjects {
				return fmt.Errorf("there are more than %d", maxObjects)
			}
			if !page.IsTruncated {
				return nil
			}
			key, id = page.NextKeyMarker, page.NextUploadIDMarker
		}
		return fmt.Errorf("the list has more than %d pages", maxPages)
	})
	return all, err
}

func (t *target) Delete(ctx context.Context, key string) error {
	object, err := t.object(key)
	if err != nil {
		return err
	}
	uploads, err := t.uploads(ctx, object)
	if err != nil {
		return err
	}
	for _, u := range uploads {
		if u.Key != object {
			continue
		}
		if err := t.abort(ctx, key, object, u.UploadID); err != nil {
			return err
		}
	}
	return t.call(ctx, callLimit, "delete "+key, func(ctx context.Context) error {
		return t.core.RemoveObject(ctx, t.bucket, object, minio.RemoveObjectOptions{})
	})
}

func (t *target) abort(ctx context.Context, key, object, id string) error {
	err := t.call(ctx, callLimit, "delete the incomplete upload of "+key, func(ctx context.Context) error {
		return t.core.AbortMultipartUpload(ctx, t.bucket, object, id)
	})
	if errors.Is(err, fs.ErrNotExist) { // it ended meanwhile
		return nil
	}
	return err
}
