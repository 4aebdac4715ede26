// Package tasklog reads the output of a task from the files in which its machine keeps
// it: the current one, which the kubelet shows, and those that the kubelet rotated away.
package tasklog
