package s3

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/pai"
)

// Credentials are a key of the S3 server. They print as nothing.
type Credentials struct {
	accessKeyID, secretAccessKey, sessionToken string
}

// String hides the key.
func (Credentials) String() string { return "(hidden)" }

// GoString hides the key.
func (Credentials) GoString() string { return "(hidden)" }

// NewCredentials are a key and its secret, as the operator of the server made them.
func NewCredentials(accessKeyID, secretAccessKey string) Credentials {
	return Credentials{accessKeyID: accessKeyID, secretAccessKey: secretAccessKey}
}

func (c Credentials) complete() bool { return c.accessKeyID != "" && c.secretAccessKey != "" }

// DefaultProfile is the section of a credentials file that is read if none is named.
const DefaultProfile = "default"

// FromEnvironment returns the settings and the key in the environment, with the variables
// of the AWS command line. Without a key there, it reads the credentials file, which is
// ~/.aws/credentials in home by default.
func FromEnvironment(getenv func(string) string, home string) (backup.S3, Credentials, error) {
	s := backup.S3{
		Endpoint: cmp.Or(getenv("AWS_ENDPOINT_URL_S3"), getenv("AWS_ENDPOINT_URL")),
		Region:   cmp.Or(getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION")),
		CAFile:   getenv("AWS_CA_BUNDLE"),
	}
	c := Credentials{getenv("AWS_ACCESS_KEY_ID"), getenv("AWS_SECRET_ACCESS_KEY"), getenv("AWS_SESSION_TOKEN")}
	if c.complete() {
		return s, c, nil
	}
	if c.accessKeyID != "" || c.secretAccessKey != "" {
		return s, Credentials{}, pai.Errorf(pai.CodeUsage, "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", "the environment has only a part of the key of the S3 server")
	}
	s.CredentialsFile = cmp.Or(getenv("AWS_SHARED_CREDENTIALS_FILE"), filepath.Join(home, ".aws", "credentials"))
	c, err := ReadCredentials(s.CredentialsFile, cmp.Or(getenv("AWS_PROFILE"), DefaultProfile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, c, pai.Errorf(pai.CodeUsage, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write the key to "+s.CredentialsFile,
			"no key of the S3 server is in the environment, and %s does not exist", s.CredentialsFile)
	}
	return s, c, err
}

// maxCredentials bounds a credentials file, in bytes.
const maxCredentials = 64 << 10

// ReadCredentials reads the key of a profile in a file of the form of the AWS command line.
// It refuses a file that others than its owner can read. No error repeats its content.
func ReadCredentials(file, profile string) (Credentials, error) {
	f, err := os.Open(file)
	if err != nil {
		return Credentials{}, fmt.Errorf("read the key of the S3 server: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Credentials{}, fmt.Errorf("read the key of the S3 server: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return Credentials{}, pai.Errorf(pai.CodeRefused, "make it a file that only its owner can read: chmod 600 "+file,
			"%s has the key of the S3 server, and is no file, or others can read it", file)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxCredentials+1))
	if err != nil {
		return Credentials{}, fmt.Errorf("read the key of the S3 server: %w", err)
	}
	if len(data) > maxCredentials {
		return Credentials{}, fmt.Errorf("%s has more than %d bytes", file, maxCredentials)
	}
	c := parseCredentials(data, profile)
	if !c.complete() {
		return Credentials{}, pai.Errorf(pai.CodeInvalid, "write the lines aws_access_key_id = … and aws_secret_access_key = … below ["+profile+"]",
			"%s has no key of the S3 server in its section [%s]", file, profile)
	}
	return c, nil
}

func parseCredentials(data []byte, profile string) (c Credentials) {
	inside := false
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") {
			inside = strings.TrimSpace(strings.Trim(line, "[]")) == profile
			continue
		}
		name, value, found := strings.Cut(line, "=")
		if !inside || !found {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "aws_access_key_id":
			c.accessKeyID = value
		case "aws_secret_access_key":
			c.secretAccessKey = value
		case "aws_session_token":
			c.sessionToken = value
		}
	}
	return c
}
