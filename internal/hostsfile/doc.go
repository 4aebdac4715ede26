// Package hostsfile keeps the lines of PAI in /etc/hosts. Without them, no kubelet finds the
// API.
package hostsfile
