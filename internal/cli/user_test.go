package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/rest"
)

func TestWriteTokens(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.Local)
	for _, c := range []struct {
		tokens []rest.TokenInfo
		want   []string
	}{
		{nil, []string{"No tokens."}},
		{[]rest.TokenInfo{
			{ID: "aaa", User: "ada", Created: at, Expires: at.Add(day), Note: "laptop"},
			{ID: "bbb", User: "admin", Admin: true, Created: at},
			{ID: "ccc", User: "bob", Created: at, Expires: at.Add(time.Hour), Expired: true},
		}, []string{
			"ID USER ADMIN CREATED EXPIRES NOTE",
			"aaa ada no 2026-11-26 12:00:00 2026-11-27 12:00:00 laptop",
			"bbb admin yes 2026-11-26 12:00:00 never -",
			"ccc bob no 2026-11-26 12:00:00 expired on 2026-11-26 13:00:00 -",
		}},
	} {
		var out bytes.Buffer
		if err := ui.Text(&out, func(p *ui.Page) { writeTokens(p, c.tokens) }); err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(out.String()) {
			got = append(got, strings.Join(strings.Fields(line), " "))
		}
		if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

func TestWriteUsersAndGroups(t *testing.T) {
	t.Parallel()
	acls := map[string]json.RawMessage{"acls": json.RawMessage(`{"admin":false,"virtualClusters":["research"],"storageConfigs":[]}`)}
	for want, write := range map[string]func(*ui.Page){
		"No users.": func(p *ui.Page) { writeUsers(p, nil) },
		"USER ADMIN PASSWORD TOKENS VIRTUAL CLUSTERS GROUPS EMAIL\nada no yes 2 default,research default,research ada@example.com\nadmin yes no 1 default adminGroup,default -": func(p *ui.Page) {
			writeUsers(p, []rest.UserInfo{
				{Username: "ada", CanLogIn: true, Tokens: 2, VirtualClusters: []string{"default", "research"}, Groups: []string{"default", "research"}, Email: "ada@example.com"},
				{Username: "admin", Admin: true, Tokens: 1, VirtualClusters: []string{"default"}, Groups: []string{"adminGroup", "default"}},
			})
		},
		"STORAGE TYPE WHERE ACCESS DIRECTORY DEFAULT\ndata nfs nas:/data read shared yes\nhome directory /mnt/home read and write of each user no": func(p *ui.Page) {
			writeStorages(p, []rest.StorageDetail{
				{StorageInfo: rest.StorageInfo{Name: "data", Share: true, Default: true}, Kind: "nfs", Data: rest.StorageSource{Server: "nas", Path: "/data"}, ReadOnly: true},
				{StorageInfo: rest.StorageInfo{Name: "home"}, Kind: "directory", Data: rest.StorageSource{Path: "/mnt/home"}},
			})
		},
		"GROUP ADMIN VIRTUAL CLUSTERS STORAGES DESCRIPTION\nvision no research - -": func(p *ui.Page) {
			writeGroups(p, []rest.GroupInfo{{Name: "vision", Extension: acls}})
		},
	} {
		var out bytes.Buffer
		if err := ui.Text(&out, write); err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(out.String()) {
			got = append(got, strings.Join(strings.Fields(line), " "))
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
		}
	}
}

// A password comes from standard input, without the end of its line, and is never empty.
func TestPasswordIsReadFromStandardInput(t *testing.T) {
	t.Parallel()
	for input, want := range map[string]string{"secret\n": "secret", "secret": "secret", " se cret \r\nmore\n": " se cret ", "": "", "\n": ""} {
		got, err := (&Env{In: strings.NewReader(input)}).readPassword()
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", input, got, err)
		}
	}
}
