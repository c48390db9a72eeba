package config

import "github.com/solovip/solovip/internal/nearest"

// didYouMean returns the remedy for a word that is none of the names.
func didYouMean(word string, names []string) string {
	if n := nearest.Word(word, names); n != "" {
		return "did you mean " + quote(n) + "?"
	}
	return ""
}

// quote returns s in double quotes, for findings; what is in it stays as it is.
func quote(s string) string { return `"` + s + `"` }
