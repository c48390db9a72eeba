// Package filewatch tells when files change: at once where the kernel says so (inotify),
// and within a second otherwise, for instance behind a symbolic link, on a network file
// system, or after the whole directory was replaced.
//
// It reads no file, and knows nothing of what is in them. A file need not be there.
//
//	var files filewatch.Watcher
//	files.Watch(ctx, "/etc/drain/web1", func() { read it })
//
// Start reading at [Watcher.Watch].
package filewatch
