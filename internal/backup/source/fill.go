package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/pai"
)

// Fill adds what a machine printed to a backup, and verifies it: the snapshot was
// served, and its Secrets can be decrypted with the key of the backup.
func Fill(w *backup.Writer, m *backup.Manifest, now func() time.Time, read Reader) error {
	var check backup.Check
	add := func(name string, size int64, from io.Reader) error {
		checked, to := io.Pipe()
		done := make(chan error, 1)
		go func() {
			err := check.Visit(name, size, checked)
			_, _ = io.Copy(io.Discard, checked)
			done <- err
		}()
		err := w.Add(name, size, io.TeeReader(from, to))
		to.CloseWithError(err)
		return errors.Join(err, <-done)
	}
	addJSON := func(name string, value any) error {
		data, err := json.Marshal(value)
		if err != nil {
			return err
		}
		return add(name, int64(len(data)), bytes.NewReader(data))
	}
	err := read(func(f Facts) error {
		m.Taken = now().UTC().Truncate(time.Second)
		jobs, err := unended(f.Jobs)
		if err != nil {
			return err
		}
		m.Etcd = backup.Etcd{Revision: f.Revision, Keys: f.Keys, Secrets: f.Secrets, Jobs: jobs}
		if f.Secrets > 0 {
			if err := addJSON(backup.SecretFile, backup.StoredSecret{Key: f.SecretKey, Value: f.SecretValue}); err != nil {
				return err
			}
		}
		return addJSON(backup.JobsFile, f.Jobs)
	}, add)
	if err != nil {
		return err
	}
	return check.Err(m.Etcd)
}

// jobSet is what shows that a job has ended. JobSets are stored as JSON.
type jobSet struct {
	Metadata struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Status struct {
		Conditions []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	} `json:"status"`
}

// ended reports whether the job has ended: a stopped one is suspended once its pods are.
func (j jobSet) ended() bool {
	_, stopped := j.Metadata.Annotations[pai.AnnotationStopped]
	for _, c := range j.Status.Conditions {
		if c.Status == "True" && (c.Type == "Completed" || c.Type == "Failed" || c.Type == "Suspended" && stopped) {
			return true
		}
	}
	return false
}

// unended counts the jobs that had not ended.
func unended(data map[string][]byte) (n int, err error) {
	for key, value := range data {
		if !strings.HasPrefix(key, JobPrefixes()[0]) {
			continue
		}
		var j jobSet
		if err := json.Unmarshal(value, &j); err != nil {
			return n, fmt.Errorf("read %s in etcd: %w", key, err)
		}
		if j.Metadata.Labels[pai.LabelJob] != "" && !j.ended() {
			n++
		}
	}
	return n, nil
}
