import static java.util.stream.Collectors.toList;

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.TimestampType;

/**
 * {@code Dump BOOTSTRAP read_committed|read_uncommitted OUT TOPIC...}: what the reference consumer reads, as JSON lines.
 * Each partition is read from its log start to its end at the start of the dump. After its records it has one line with
 * beginning, end and position. README.md has the format of the lines.
 */
public final class Dump {
    /** Longer values, in bytes, are written as length and SHA-256. */
    static final int INLINE = 64 << 10;

    public static void main(String[] args) throws Exception {
        String isolation = args[1];
        if (!isolation.startsWith("read_")) throw new IllegalArgumentException("isolation " + isolation);
        List<String> topics = List.of(args).subList(3, args.length);
        Path out = Path.of(args[2]);
        long records = 0;
        try (KafkaConsumer<byte[], byte[]> consumer = Kit.consumer(args[0], isolation);
                PrintWriter to = new PrintWriter(Files.newBufferedWriter(out))) {
            for (String topic : topics) records += dump(consumer, topic, to);
            if (to.checkError()) throw new IllegalStateException("cannot write " + out);
        }
        System.err.println("Dump: " + records + " records of " + topics.size() + " topics, " + isolation);
    }

    private static long dump(KafkaConsumer<byte[], byte[]> consumer, String topic, PrintWriter to) throws Exception {
        if (consumer.partitionsFor(topic) == null) throw new IllegalArgumentException("no topic " + topic);
        List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                .map(p -> new TopicPartition(topic, p.partition()))
                .sorted(Comparator.comparing(TopicPartition::partition))
                .collect(toList());
        consumer.assign(partitions);
        Map<TopicPartition, Long> beginning = consumer.beginningOffsets(partitions);
        Map<TopicPartition, Long> end = consumer.endOffsets(partitions); // the last stable offset if read_committed
        beginning.forEach(consumer::seek);

        // The position is compared, not the number of records: the last offsets may have no record that is delivered.
        Set<TopicPartition> open = new HashSet<>(partitions);
        open.removeIf(tp -> beginning.get(tp) >= end.get(tp));
        consumer.assign(new ArrayList<>(open)); // keeps the positions of the remaining partitions
        long records = 0;
        long progress = System.nanoTime();
        StringBuilder line = new StringBuilder();
        Map<TopicPartition, Long> position = new HashMap<>(beginning);
        while (!open.isEmpty()) {
            ConsumerRecords<byte[], byte[]> got = consumer.poll(Duration.ofMillis(100));
            for (ConsumerRecord<byte[], byte[]> r : got) {
                if (r.offset() >= end.get(new TopicPartition(topic, r.partition()))) continue;
                line.setLength(0);
                to.println(json(r, line));
                records++;
            }
            boolean closed = false;
            for (TopicPartition tp : List.copyOf(open)) {
                long at = consumer.position(tp);
                if (at != position.put(tp, at)) progress = System.nanoTime();
                if (at >= end.get(tp)) closed |= open.remove(tp);
            }
            if (closed) consumer.assign(new ArrayList<>(open));
            // The reference consumer would wait for ever at a hole up to the high watermark; the line's position shows it.
            if (System.nanoTime() - progress > 15e9) break;
        }
        for (TopicPartition tp : partitions) {
            to.println("{\"topic\":" + Kit.q(topic) + ",\"partition\":" + tp.partition() + ",\"beginning\":"
                    + beginning.get(tp) + ",\"end\":" + end.get(tp) + ",\"position\":" + position.get(tp) + "}");
        }
        return records;
    }

    private static CharSequence json(ConsumerRecord<byte[], byte[]> r, StringBuilder b) throws Exception {
        boolean none = r.timestampType() == TimestampType.NO_TIMESTAMP_TYPE || r.timestamp() < 0;
        b.append("{\"topic\":").append(Kit.q(r.topic()));
        b.append(",\"partition\":").append(r.partition());
        b.append(",\"offset\":").append(r.offset());
        b.append(",\"timestamp\":").append(none ? "null" : r.timestamp());
        b.append(",\"timestamp_type\":").append(r.timestampType() == TimestampType.LOG_APPEND_TIME ? 1 : 0);
        b.append(",\"key\":").append(Kit.b64(r.key()));
        byte[] value = r.value();
        if (value != null && value.length > INLINE) {
            String sha = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(value));
            b.append(",\"value_sha256\":\"").append(sha).append("\",\"value_len\":").append(value.length);
        } else {
            b.append(",\"value\":").append(Kit.b64(value));
        }
        b.append(",\"headers\":[");
        String comma = "";
        for (Header h : r.headers()) {
            b.append(comma).append('[').append(Kit.b64(Kit.utf8(h.key()))).append(',').append(Kit.b64(h.value())).append(']');
            comma = ",";
        }
        return b.append("]}");
    }
}
