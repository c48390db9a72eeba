package fencing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

// ErrDamaged says that a line is not as it was written: a power cut or a bad disk.
var ErrDamaged = errors.New("the line is damaged")

// MaxLine bounds a line of the ledger, in bytes, its end included.
const MaxLine = 256 << 10

// start is how each line begins. Inside a line it cannot occur, because JSON escapes
// quotes within strings: so a line that lost its end does not take the next one along.
const start = `{"id":"`

// sumLead and sumTail stand around the checksum, the last field of a line.
const (
	sumLead = `,"crc":"`
	sumTail = "\"}"
	sumLen  = len(sumLead) + 8 + len(sumTail)
)

// Line returns the record as one line of JSON, with its checksum as the last field and a
// newline at the end.
func (r *Record) Line() []byte {
	c := r.Clone()
	c.trim()
	text, err := json.Marshal(c)
	if err != nil {
		panic("fencing: encode a record: " + err.Error()) // strings, numbers and an instant always encode
	}
	text = append(seal(text), '\n')
	if len(text) > MaxLine {
		panic(fmt.Sprintf("fencing: a line of %d bytes, although records are bounded", len(text)))
	}
	return text
}

// ParseLine reads one line, with or without its newline. The error wraps ErrDamaged when
// the checksum does not fit.
func ParseLine(line []byte) (Record, error) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	if !bytes.HasPrefix(line, []byte(start)) || len(line) < len(start)+sumLen {
		return Record{}, ErrDamaged
	}
	body, sum := line[:len(line)-sumLen], line[len(line)-sumLen:]
	text := append(bytes.Clone(body), '}')
	if want := fmt.Appendf(nil, "%s%08x%s", sumLead, checksum(text), sumTail); !bytes.Equal(sum, want) {
		return Record{}, ErrDamaged
	}
	var r Record
	if err := json.Unmarshal(text, &r); err != nil {
		return Record{}, fmt.Errorf("read a fencing: %w", err)
	}
	return r, nil
}

// Salvage finds the whole records in a damaged line: what stands before and behind the
// one that lost a part of itself.
func Salvage(line []byte) []Record {
	var found []Record
	for {
		at := bytes.Index(line, []byte(start))
		if at < 0 {
			return found
		}
		line = line[at:]
		end := len(line)
		if next := bytes.Index(line[1:], []byte(start)); next >= 0 {
			end = 1 + next
		}
		// A power cut may leave zeros behind what was written.
		if r, err := ParseLine(bytes.TrimRight(line[:end], "\x00\n")); err == nil {
			found = append(found, r)
		}
		line = line[end:]
	}
}

// seal puts the checksum of an object into it, as its last field.
func seal(text []byte) []byte {
	sum := checksum(text)
	return fmt.Appendf(bytes.TrimSuffix(text, []byte("}")), "%s%08x%s", sumLead, sum, sumTail)
}

func checksum(text []byte) uint32 { return crc32.ChecksumIEEE(text) }
