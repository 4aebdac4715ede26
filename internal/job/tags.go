package job

import (
	"slices"
	"strings"
	"unicode"

	"pai.dev/pai/internal/pai"
)

// Limits of the tags of a job.
const (
	maxTags = 50
	MaxTag  = 64 // bytes
)

// ReadTags reads the annotation of a JobSet with its tags.
func ReadTags(annotation string) []string {
	if annotation == "" {
		return nil
	}
	return strings.Split(annotation, ",")
}

// AddTag returns tags with one more, once, in the form of the annotation.
func AddTag(tags []string, tag string) (string, error) {
	bad := func(r rune) bool { return r == ',' || unicode.IsControl(r) || r == unicode.ReplacementChar }
	switch {
	case tag == "" || len(tag) > MaxTag || strings.ContainsFunc(tag, bad):
		return "", pai.Errorf(pai.CodeInvalid, "", "a tag has 1 to %d bytes, without commas and control characters", MaxTag)
	case slices.Contains(tags, tag):
	case len(tags) >= maxTags:
		return "", pai.Errorf(pai.CodeRefused, "remove a tag first", "the job has %d tags, which is the limit", maxTags)
	default:
		tags = append(slices.Clone(tags), tag)
	}
	return strings.Join(tags, ","), nil
}

// RemoveTag returns tags without one, in the form of the annotation, and whether it was
// there.
func RemoveTag(tags []string, tag string) (string, bool) {
	left := slices.DeleteFunc(slices.Clone(tags), func(t string) bool { return t == tag })
	return strings.Join(left, ","), len(left) < len(tags)
}
