// Package s3 keeps backups in a bucket of an S3 server. An object has its key or does not
// exist: what an interrupted upload left is only listed as incomplete, until it is deleted.
// What the server answers is bounded in size and in time.
package s3
