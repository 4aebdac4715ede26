package s3

import (
	"net/url"
	"regexp"
	"strings"

	"pai.dev/pai/internal/pai"
)

const scheme = "s3://"

// Is reports whether an operator names a bucket, not a directory.
func Is(name string) bool { return strings.HasPrefix(name, scheme) }

// location is s3://BUCKET/PREFIX. No element of a prefix starts with a dot, so that none
// is "." or "..".
var location = regexp.MustCompile(`^s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*)$`)

// maxPrefix bounds a prefix, in bytes. S3 limits a whole key to 1024.
const maxPrefix = 512

// parseLocation returns the bucket, and the prefix with a slash at its end, or empty.
func parseLocation(name string) (bucket, prefix string, err error) {
	m := location.FindStringSubmatch(strings.TrimSuffix(name, "/"))
	if m == nil || strings.Contains(m[1], "..") || len(m[2]) > maxPrefix {
		return "", "", pai.Errorf(pai.CodeUsage, "name it like s3://my-bucket/pai/lab", "%q is not the name of a bucket with a prefix", name)
	}
	if m[2] == "" {
		return m[1], "", nil
	}
	return m[1], m[2][1:] + "/", nil
}

const defaultRegion = "us-east-1"

// parseEndpoint returns the host of an endpoint, and whether it is reached with TLS.
func parseEndpoint(endpoint, region string) (host string, secure bool, err error) {
	if endpoint == "" {
		return "s3." + region + ".amazonaws.com", true, nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		// It is not repeated: a password can be in it.
		return "", false, pai.Errorf(pai.CodeUsage, "name it like https://s3.example.com:9000", "the endpoint of the S3 server is not a URL of a host")
	}
	return u.Host, u.Scheme == "https", nil
}
