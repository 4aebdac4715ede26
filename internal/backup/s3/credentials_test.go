package s3_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/backup/s3"
	"pai.dev/pai/internal/pai"
)

func TestNamesOfBuckets(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"s3://backups": "s3://backups", "s3://backups/": "s3://backups", "s3://my.bucket-1/pai/lab/": "s3://my.bucket-1/pai/lab",
		"s3://": "", "s3:///x": "", "s3://Bucket": "", "s3://b/x": "", "s3://backups/..": "", "s3://backups/a/../b": "", "s3://backups//a": "", "s3://backups/a b": "",
		"s3://a..b": "", "s3://key:secret@backups": "", "s3://backups/" + strings.Repeat("x", 600): "", "/mnt/backups": "",
	} {
		target, err := s3.Open(name, backup.S3{}, s3.NewCredentials("key", "secret"))
		switch {
		case want == "" && pai.CodeOf(err) != pai.CodeUsage:
			t.Errorf("%q: got %v, want a usage error", name, err)
		case want != "" && (err != nil || target.String() != want):
			t.Errorf("%q: got %v, %v, want %q", name, target, err, want)
		}
	}
	for _, endpoint := range []string{"s3.example.com", "ftp://x", "https://", "https://x/path", "https://x?y=z", "https://user:the-password@x"} {
		_, err := s3.Open("s3://backups", backup.S3{Endpoint: endpoint}, s3.NewCredentials("key", "secret"))
		if pai.CodeOf(err) != pai.CodeUsage || strings.Contains(fmt.Sprint(err), "the-password") {
			t.Errorf("%q: got %v, want a usage error without a password", endpoint, err)
		}
	}
}

// The key is read from the environment, or from a file that only its owner can read. It is
// in no error, and prints as nothing.
func TestKeyOfTheServer(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	file := filepath.Join(home, ".aws", "credentials")
	content := "# by hand\n[other]\naws_access_key_id = OTHER\naws_secret_access_key = the-other\n[default]\naws_access_key_id=KEY\n aws_secret_access_key = the-secret \nregion = x\n[part]\naws_access_key_id = PART\n"
	read := func(environment ...string) (backup.S3, s3.Credentials, error) {
		return s3.FromEnvironment(func(name string) string {
			for _, e := range environment {
				if value, ok := strings.CutPrefix(e, name+"="); ok {
					return value
				}
			}
			return ""
		}, home)
	}
	if _, _, err := read(); pai.CodeOf(err) != pai.CodeUsage || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v without a key, want a usage error", err)
	}
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name        string
		environment []string
		want        s3.Credentials
		code        pai.Code
	}{
		{"file", nil, s3.NewCredentials("KEY", "the-secret"), ""},
		{"profile", []string{"AWS_PROFILE=other"}, s3.NewCredentials("OTHER", "the-other"), ""},
		{"environment", []string{"AWS_ACCESS_KEY_ID=E", "AWS_SECRET_ACCESS_KEY=the-secret-2"}, s3.NewCredentials("E", "the-secret-2"), ""},
		{"half of a key", []string{"AWS_ACCESS_KEY_ID=E"}, s3.Credentials{}, pai.CodeUsage},
		{"half of a profile", []string{"AWS_PROFILE=part"}, s3.Credentials{}, pai.CodeInvalid},
		{"no such profile", []string{"AWS_PROFILE=none"}, s3.Credentials{}, pai.CodeInvalid},
	} {
		_, key, err := read(c.environment...)
		if c.code == "" && (err != nil || key != c.want) || c.code != "" && pai.CodeOf(err) != c.code {
			t.Errorf("%s: got %v, want code %q", c.name, err, c.code)
		}
		if text := fmt.Sprintf("%v %+v %#v %s %v", key, key, key, key, err); strings.Contains(text, "the-") || strings.Contains(text, "KEY ") {
			t.Errorf("%s: the key is printed: %s", c.name, text)
		}
	}
	settings, _, err := read("AWS_ENDPOINT_URL=https://a", "AWS_ENDPOINT_URL_S3=https://b", "AWS_DEFAULT_REGION=r", "AWS_CA_BUNDLE=/ca")
	if err != nil || settings.Endpoint != "https://b" || settings.Region != "r" || settings.CAFile != "/ca" {
		t.Errorf("got %+v, %v", settings, err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(); pai.CodeOf(err) != pai.CodeRefused || strings.Contains(err.Error(), "the-secret") {
		t.Errorf("got %v for a file that others can read, want a refusal", err)
	}
}
