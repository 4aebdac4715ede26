package config

import (
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// AlertManager is alert-manager: who gets alerts. Without a receiver, none is sent.
type AlertManager struct {
	// Email is a receiver by mail; nil for none.
	Email *EmailConfig `yaml:"email-configs,omitempty" json:"email-configs,omitempty"`
	// Webhooks are receivers by HTTP, by the name of each.
	Webhooks map[string]WebhookConfig `yaml:"webhook-configs,omitempty" json:"webhook-configs,omitempty"`
}

// EmailConfig is a server for mail, and who gets the mail.
type EmailConfig struct {
	AdminReceiver string   `yaml:"admin-receiver" json:"admin-receiver"` // addresses, separated by commas
	SMTPHost      string   `yaml:"smtp-host" json:"smtp-host"`
	SMTPPort      int      `yaml:"smtp-port,omitempty" json:"smtp-port"` // default 587
	SMTPFrom      string   `yaml:"smtp-from" json:"smtp-from"`
	Username      string   `yaml:"smtp-auth-username,omitempty" json:"smtp-auth-username,omitempty"`
	Password      Secret   `yaml:"smtp-auth-password,omitempty" json:"smtp-auth-password,omitempty"`
	TLS           string   `yaml:"smtp-tls,omitempty" json:"smtp-tls"`     // default required
	Severities    []string `yaml:"severities,omitempty" json:"severities"` // default critical and warning
}

// WebhookConfig is a server that gets alerts as JSON. Its URL can have a token in it, so it
// is a secret as well.
type WebhookConfig struct {
	URL         Secret   `yaml:"url" json:"url"`
	BearerToken Secret   `yaml:"bearer-token,omitempty" json:"bearer-token,omitempty"`
	Severities  []string `yaml:"severities,omitempty" json:"severities"` // default critical and warning
}

// On reports whether alerts have a receiver.
func (a AlertManager) On() bool { return a.Email != nil || len(a.Webhooks) > 0 }

// The values of smtp-tls.
const (
	mailTLSRequired = "required"
	mailTLSNone     = "none"
)

// alertSeverities are those of the rules, the worst first.
func alertSeverities() []string { return []string{"critical", "warning", "info"} }

// defaultSeverities are those that a receiver gets without the key.
func defaultSeverities() []string { return alertSeverities()[:2] }

func (a *AlertManager) setDefaults() {
	if e := a.Email; e != nil {
		setDefault(&e.SMTPPort, DefaultMailPort)
		setDefault(&e.TLS, mailTLSRequired)
		if len(e.Severities) == 0 {
			e.Severities = defaultSeverities()
		}
	}
	for name, w := range a.Webhooks {
		if len(w.Severities) == 0 {
			w.Severities = defaultSeverities()
			a.Webhooks[name] = w
		}
	}
}

// alertManagerKeys keeps the names of OpenPAI where they fit. Its other keys, and those of
// the historical PAI, are accepted and have no effect.
func alertManagerKeys() key {
	severities := key{
		name: "severities", shape: list, item: &key{shape: text, format: oneOf(alertSeverities()...)}, def: "`critical` and `warning`",
		meaning: "which alerts the receiver gets: `critical`, `warning`, `info`", jobs: jobsNone,
	}
	webhook := key{shape: object, format: labels(maxReceiverName), keys: []key{
		{name: "url", shape: text, required: true, secret: true, format: webhookURLs(), meaning: "where alerts are sent, as JSON of Alertmanager; masked, because it can have a token", jobs: jobsNone},
		{name: "bearer-token", shape: text, secret: true, format: secretWords(), def: "none", meaning: "token of the header `Authorization`, for https only", jobs: jobsNone},
		severities,
	}}
	return key{name: "alert-manager", shape: object, keys: append([]key{
		{name: "email-configs", shape: object, keys: []key{
			{name: "admin-receiver", shape: text, required: true, format: mailAddresses(), meaning: "who gets alerts by mail, separated by commas; a `paictl` before v0.11 ignores the section", jobs: jobsNone},
			{name: "smtp-host", shape: text, required: true, format: hostNames(), meaning: "server for mail", jobs: jobsNone},
			{name: "smtp-port", shape: number, format: ports(), def: "587", meaning: "its port; at 465, the connection begins with TLS, at others with STARTTLS", jobs: jobsNone},
			{name: "smtp-from", shape: text, required: true, format: mailAddresses(), meaning: "sender of the mail", jobs: jobsNone},
			{name: "smtp-auth-username", shape: text, format: lines(256), def: "none", meaning: "user on the server for mail", jobs: jobsNone},
			{name: "smtp-auth-password", shape: text, secret: true, format: secretLines(), def: "none", meaning: "password of the user", jobs: jobsNone},
			{name: "smtp-tls", shape: text, format: oneOf(mailTLSRequired, mailTLSNone), def: "`required`", meaning: "whether mail is sent only encrypted; `none` excludes a password", jobs: jobsNone},
			severities,
		}},
		{name: "webhook-configs", shape: table, item: &webhook},
		{name: "port", shape: number, format: ports(), effect: ignored},
		{name: "smtp_auth_password", shape: anything, effect: ignored, secret: true},
		{name: "pai-bearer-token", shape: anything, effect: ignored, secret: true},
	}, removedKeys(
		"receiver", "alert_receiver", "alert_manager_port", "smtp_url", "smtp_from", "smtp_auth_username", "alert-receiver",
		"alert-handler", "customized-routes", "customized-receivers", "customized-rules", "cluster-utilization",
		"job-status-change-notification", "repeat-interval", "use-pylon",
	)...)}
}

// maxReceiverName bounds the names of files that are made of it.
const maxReceiverName = 30

var hostName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,251}[a-zA-Z0-9])?$`)

func hostNames() format {
	return format{name: "host", schema: map[string]any{"pattern": hostName.String()}, check: func(value string) string {
		return problemUnless(hostName.MatchString(value) && !strings.Contains(value, ".."), "%s is not the name or the IPv4 address of a host", quoted(value))
	}}
}

func mailAddresses() format {
	return format{name: "addresses", check: func(value string) string {
		list, err := mail.ParseAddressList(value)
		plain := err == nil && len(value) <= 1024 && !strings.ContainsFunc(value, isControl)
		return problemUnless(plain && len(list) > 0, "%s is not an address such as ops@example.org, or several, separated by commas", quoted(value))
	}}
}

// lines are texts of one line.
func lines(limit int) format {
	return format{name: "text", schema: map[string]any{"maxLength": limit}, check: func(value string) string {
		return problemUnless(value != "" && len(value) <= limit && !strings.ContainsFunc(value, isControl), "it must be one line of 1 to %d bytes", limit)
	}}
}

// secretLines and secretWords never repeat the value.
func secretLines() format {
	f := lines(1024)
	f.name = "secret"
	return f
}

func secretWords() format {
	return format{name: "secret", schema: map[string]any{"maxLength": 4096}, check: func(value string) string {
		other := func(r rune) bool { return r <= ' ' || r > '~' }
		return problemUnless(value != "" && len(value) <= 4096 && !strings.ContainsFunc(value, other), "it must have visible ASCII characters only, and at most 4096")
	}}
}

func webhookURLs() format {
	return format{name: "URL", schema: map[string]any{"pattern": "^https?://"}, check: func(value string) string {
		u, err := url.Parse(value)
		ok := err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil && u.Fragment == "" &&
			len(value) <= 2048 && !strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' })
		return problemUnless(ok, "it must be an address that begins with https:// or http://, has a host, and has no user, no fragment, and no spaces")
	}}
}

func isControl(r rune) bool {
	return r < ' ' || r == 0x7f || r == '\u0085' || r == '\u2028' || r == '\u2029'
}

// alerts checks receivers: a login is whole, and a secret is sent only encrypted.
func (r rules) alerts() {
	const mail = "alert-manager.email-configs"
	if e := r.c.Services.AlertManager.Email; e != nil {
		switch {
		case e.Username != "" && e.Password == "":
			r.problem(ServicesFile, mail+".smtp-auth-username", "smtp-auth-username: smtp-auth-password is missing")
		case e.Username == "" && e.Password != "":
			r.problem(ServicesFile, mail+".smtp-auth-password", "smtp-auth-password: smtp-auth-username is missing")
		}
		if e.TLS == mailTLSNone && e.Password != "" {
			r.problem(ServicesFile, mail+".smtp-tls", "smtp-tls: the password would be sent in clear text; remove it or smtp-tls")
		}
		if strings.Contains(e.SMTPFrom, ",") {
			r.problem(ServicesFile, mail+".smtp-from", "smtp-from: mail has one sender")
		}
		r.severities(mail, e.Severities)
	}
	for name, w := range r.c.Services.AlertManager.Webhooks {
		path := "alert-manager.webhook-configs." + name
		u, err := url.Parse(w.URL.Reveal())
		if err != nil {
			continue // reported as a value
		}
		if u.Scheme == "http" && w.BearerToken != "" {
			r.problem(ServicesFile, path+".bearer-token", "bearer-token: it would be sent in clear text; use an https:// address")
		}
		r.severities(path, w.Severities)
	}
}

func (r rules) severities(path string, list []string) {
	sorted := slices.Sorted(slices.Values(list))
	if len(slices.Compact(sorted)) != len(list) {
		r.problem(ServicesFile, path+".severities", "severities: one of them is named twice")
	}
}
