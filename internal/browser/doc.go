// Package browser drives a real browser for tests of pages: Debian's Chromium without a
// window, by chromedriver and the WebDriver protocol, which is JSON over HTTP and so needs
// no library.
//
// It refuses to reach any network: every name is unknown to the browser, and pages come
// from files or from servers of the test on loopback.
//
// Start at Start.
//
//	b := browser.Start(t)
//	b.Open("file:///tmp/page.html")
//	var title string
//	b.Eval(&title, "return document.title")
package browser
