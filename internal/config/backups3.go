package config

import (
	"net/url"
	"regexp"
	"strings"
)

const bucketScheme = "s3://"

var (
	// bucketName is what package s3 of the backups opens.
	bucketName = regexp.MustCompile(`^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$`)
	region     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// longestBucket bounds the name of a bucket with its prefix, in bytes.
const longestBucket = 512

// backupS3Keys is kubernetes.backup.s3.
func backupS3Keys() key {
	return key{
		name: "s3", shape: object, def: "none", jobs: jobsNone,
		meaning: "how the bucket in `to` is reached; see [operating.md](operating.md#backups-in-a-bucket)",
		keys: []key{
			{name: "endpoint", shape: text, format: endpoints(), def: "that of AWS", jobs: jobsNone, meaning: "URL of the S3 server, such as `https://s3.example.com:9000`"},
			{name: "region", shape: text, format: regions(), def: "`us-east-1`", jobs: jobsNone, meaning: "region of the bucket; most servers other than AWS take any"},
			{
				name: "credentials-file", shape: text, required: true, format: lastingPaths("files"), jobs: jobsNone,
				meaning: "file on the control-plane machine with the key of the S3 server, as the AWS command line reads it; mode 0600; PAI does not write it",
			},
			{name: "ca-file", shape: text, format: lastingPaths("files"), def: "those of the operating system", jobs: jobsNone, meaning: "file on the control-plane machine with the certificates that the S3 server is trusted by"},
		},
	}
}

// backupTargets is a lasting directory, or s3://BUCKET/PREFIX.
func backupTargets() format {
	directory := lastingPaths("backups")
	return format{name: "absolute path or `s3://BUCKET/PREFIX`", schema: map[string]any{"pattern": "^(/|s3://)"}, check: func(value string) string {
		if !strings.HasPrefix(value, bucketScheme) {
			return directory.check(value)
		}
		ok := bucketName.MatchString(value) && len(value) <= longestBucket && !strings.Contains(value, "..")
		return problemUnless(ok, "%s is not a bucket with a prefix, such as s3://my-bucket/pai/lab", quoted(value))
	}}
}

func endpoints() format {
	return format{name: "URL", schema: map[string]any{"pattern": "^https?://"}, check: func(value string) string {
		if strings.Contains(value, "@") { // never repeat a password
			return "a user or a password cannot be in the URL: write the key to credentials-file"
		}
		u, err := url.Parse(value)
		ok := err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.Path == "" && u.RawQuery == "" && u.Fragment == ""
		return problemUnless(ok, "%s is not the URL of a server, such as https://s3.example.com:9000", quoted(value))
	}}
}

func regions() format {
	return format{name: "name", schema: map[string]any{"pattern": region.String()}, check: func(value string) string {
		return problemUnless(region.MatchString(value), "%s is not the name of a region, such as eu-central-1", quoted(value))
	}}
}

// backupS3 checks that a bucket says how it is reached, and a directory does not.
func (r rules) backupS3(b *Backup) {
	switch bucket := strings.HasPrefix(b.To, bucketScheme); {
	case bucket && b.S3 == nil:
		r.problem(KubernetesFile, "kubernetes.backup.to", "backup: say how the bucket is reached, with s3")
	case !bucket && b.S3 != nil:
		r.problem(KubernetesFile, "kubernetes.backup.s3", "backup: s3 is only for a bucket, and to is a directory; remove one")
	}
}
