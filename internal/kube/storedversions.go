package kube

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/version"
)

// StorageChange is what must happen to the stored objects of a kind before another
// definition takes the place of the present one: the API server refuses a definition
// without a version that objects might be stored as.
type StorageChange struct {
	Definition string   // "workloads.kueue.x-k8s.io"
	To         string   // the version that every object is written in again
	Dropped    []string // the stored versions that the next definition lacks
}

// DroppedText lists the dropped versions.
func (s StorageChange) DroppedText() string { return strings.Join(s.Dropped, ", ") }

// storageNote explains a definition that the API server refuses because of what is
// stored; otherwise it returns the error.
func storageNote(now, next *unstructured.Unstructured, refusal error) (string, error) {
	before, err := typedDefinition(now)
	if err != nil {
		return "", err
	}
	after, err := typedDefinition(next)
	if err != nil {
		return "", err
	}
	change, err := StorageChangeOf(before, after)
	switch {
	case err != nil:
		return "", err
	case change == nil:
		return "", refusal
	default:
		return "first all its objects are written again as " + change.To, nil
	}
}

// StorageChangeOf compares a definition with the next one. It is nil if the next one
// has every version that objects might be stored as. The error means that no version
// is in both, so that no object can be kept.
func StorageChangeOf(now, next *apiextensions.CustomResourceDefinition) (*StorageChange, error) {
	var dropped []string
	for _, v := range now.Status.StoredVersions {
		if !hasVersion(next, v) {
			dropped = append(dropped, v)
		}
	}
	if len(dropped) == 0 {
		return nil, nil
	}
	to := ""
	for _, v := range next.Spec.Versions {
		switch {
		case !hasVersion(now, v.Name):
		case v.Storage:
			return &StorageChange{now.Name, v.Name, dropped}, nil
		case to == "" || newer(v.Name, to):
			to = v.Name
		}
	}
	if to == "" {
		return nil, fmt.Errorf("objects of %s might be stored as %s, and no version is in both definitions: the present one has %s, the next one %s",
			now.Name, strings.Join(dropped, ", "), strings.Join(versionsOf(now), ", "), strings.Join(versionsOf(next), ", "))
	}
	return &StorageChange{now.Name, to, dropped}, nil
}

// newer orders the names of versions as Kubernetes does: v1 is newer than v1beta2.
func newer(a, b string) bool { return version.CompareKubeAwareVersionStrings(a, b) > 0 }

func versionsOf(d *apiextensions.CustomResourceDefinition) []string {
	var names []string
	for _, v := range d.Spec.Versions {
		names = append(names, v.Name)
	}
	return names
}

func hasVersion(d *apiextensions.CustomResourceDefinition, name string) bool {
	return slices.Contains(versionsOf(d), name)
}

// storageOf is the version that a definition stores new objects in.
func storageOf(d *apiextensions.CustomResourceDefinition) string {
	for _, v := range d.Spec.Versions {
		if v.Storage {
			return v.Name
		}
	}
	return ""
}

// newestServed is the version to read and write objects in.
func newestServed(d *apiextensions.CustomResourceDefinition) (string, error) {
	served := ""
	for _, v := range d.Spec.Versions {
		if v.Served && (served == "" || newer(v.Name, served)) {
			served = v.Name
		}
	}
	if served == "" {
		return "", errors.New("no version is served")
	}
	return served, nil
}
