// franz-go BOOTSTRAP TOPIC: franz-go as a service would use it to read a topic.
//
// Partitions are consumed directly, without a group, to the ends known before the clock starts.
// CRCs are checked, as is franz-go's default. Prints one JSON line.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type round struct {
	Client       string  `json:"client"`
	Records      uint64  `json:"records"`
	ValueBytes   uint64  `json:"value_bytes"`
	WireBytes    uint64  `json:"wire_bytes"`
	Requests     uint64  `json:"requests"`
	RequestBytes uint64  `json:"request_bytes"`
	Wall         float64 `json:"wall_s"`
	User         float64 `json:"user_s"`
	System       float64 `json:"system_s"`
	CPU          float64 `json:"cpu_us_per_record"`
	PeakRSS      int64   `json:"peak_rss_kib"`
}

// wire counts fetches and their bytes.
type wire struct{ requests, written, read atomic.Uint64 }

func (w *wire) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, n int, _, _ time.Duration, _ error) {
	if key == kmsg.Fetch.Int16() {
		w.requests.Add(1)
		w.written.Add(uint64(n))
	}
}

func (w *wire) OnBrokerRead(_ kgo.BrokerMetadata, key int16, n int, _, _ time.Duration, _ error) {
	if key == kmsg.Fetch.Int16() {
		w.read.Add(uint64(n))
	}
}

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: franz-go BOOTSTRAP TOPIC"))
	}
	r, err := read(strings.Split(os.Args[1], ","), os.Args[2])
	if err != nil {
		fail(err)
	}
	line, err := json.Marshal(r)
	if err != nil {
		fail(err)
	}
	fmt.Println(string(line))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "franz-go:", err)
	os.Exit(1)
}

func usage() (user, system float64, peak int64) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		fail(err)
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(u.Utime), seconds(u.Stime), u.Maxrss
}

// bounds are the first offsets of the partitions with data, and their exclusive ends.
func bounds(ctx context.Context, seeds []string, topic string) (map[int32]kgo.Offset, map[int32]int64, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...))
	if err != nil {
		return nil, nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, nil, err
	}
	listed, err := admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, nil, err
	}
	from, ends := map[int32]kgo.Offset{}, map[int32]int64{}
	listed.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(topic, end.Partition)
		if start.Offset < end.Offset {
			from[end.Partition] = kgo.NewOffset().At(start.Offset)
			ends[end.Partition] = end.Offset
		}
	})
	return from, ends, nil
}

func read(seeds []string, topic string) (*round, error) {
	ctx := context.Background()
	from, ends, err := bounds(ctx, seeds, topic)
	if err != nil {
		return nil, err
	}
	count := &wire{}
	user, system, _ := usage()
	began := time.Now()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(seeds...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchMaxPartitionBytes(4<<20),
		// So that the end of a log that is a transaction's marker is seen; they are not counted.
		kgo.KeepControlRecords(),
		kgo.WithHooks(count),
	)
	if err != nil {
		return nil, err
	}
	r := &round{Client: "franz-go"}
	for len(ends) > 0 {
		fetches := client.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			return nil, fmt.Errorf("partition %d: %w", e.Partition, e.Err)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			end, wanted := ends[p.Partition]
			if !wanted || len(p.Records) == 0 {
				return
			}
			for _, record := range p.Records {
				if record.Offset < end && !record.Attrs.IsControl() {
					r.Records++
					r.ValueBytes += uint64(len(record.Value))
				}
			}
			if p.Records[len(p.Records)-1].Offset+1 >= end {
				delete(ends, p.Partition)
			}
		})
	}
	r.Wall = time.Since(began).Seconds()
	userNow, systemNow, peak := usage()
	r.User, r.System, r.PeakRSS = userNow-user, systemNow-system, peak
	r.CPU = (r.User + r.System) * 1e6 / float64(max(r.Records, 1))
	r.WireBytes, r.Requests, r.RequestBytes = count.read.Load(), count.requests.Load(), count.written.Load()
	client.Close()
	return r, nil
}
