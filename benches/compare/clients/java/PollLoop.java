import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * {@code PollLoop BOOTSTRAP TOPIC}: the Java consumer as a service would use it to read a topic.
 *
 * <p>Partitions are assigned, not subscribed, and polled to the ends known before the clock starts; nothing is
 * committed. CRCs are checked, as is the default. How many bytes and requests it took is not asked: both are 0.
 */
public final class PollLoop {
    private static final Duration ANSWER = Duration.ofSeconds(30);
    /** Of the times in /proc/PID/stat: USER_HZ, 100 on every Linux. */
    private static final double TICKS_PER_SECOND = 100;

    public static void main(String[] args) throws IOException {
        if (args.length != 2) {
            System.err.println("usage: PollLoop BOOTSTRAP TOPIC");
            System.exit(2);
        }
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", args[0],
                "enable.auto.commit", false,
                "auto.offset.reset", "none",
                "allow.auto.create.topics", false,
                "max.partition.fetch.bytes", 4 << 20,
                "max.poll.records", 5000);
        var bytes = new ByteArrayDeserializer();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings, bytes, bytes)) {
            System.out.println(read(consumer, args[1]));
        }
    }

    private static String read(KafkaConsumer<byte[], byte[]> consumer, String topic) throws IOException {
        List<TopicPartition> all = consumer.partitionsFor(topic).stream()
                .map(p -> new TopicPartition(topic, p.partition()))
                .toList();
        Map<TopicPartition, Long> starts = consumer.beginningOffsets(all);
        Map<TopicPartition, Long> ends = new HashMap<>(consumer.endOffsets(all));
        ends.entrySet().removeIf(end -> starts.get(end.getKey()) >= end.getValue());
        long records = 0;
        long valueBytes = 0;
        double[] before = cpu();
        long began = System.nanoTime();
        consumer.assign(List.copyOf(ends.keySet()));
        consumer.seekToBeginning(ends.keySet());
        while (!ends.isEmpty()) {
            ConsumerRecords<byte[], byte[]> polled = consumer.poll(ANSWER);
            if (polled.isEmpty()) {
                // The end of a log may be a transaction's marker, which is no record.
                if (!ends.entrySet().removeIf(end -> consumer.position(end.getKey()) >= end.getValue())) {
                    throw new IllegalStateException("nothing came of " + ends.size() + " partitions");
                }
            }
            for (TopicPartition partition : polled.partitions()) {
                Long end = ends.get(partition);
                if (end == null) continue;
                for (ConsumerRecord<byte[], byte[]> record : polled.records(partition)) {
                    if (record.offset() >= end) break;
                    records++;
                    if (record.value() != null) valueBytes += record.value().length;
                }
                if (consumer.position(partition) >= end) ends.remove(partition);
            }
        }
        double wall = (System.nanoTime() - began) / 1e9;
        double[] after = cpu();
        double user = after[0] - before[0];
        double system = after[1] - before[1];
        return String.format(
                Locale.ROOT,
                "{\"client\":\"java-poll\",\"records\":%d,\"value_bytes\":%d,\"wire_bytes\":0,\"requests\":0,"
                        + "\"wall_s\":%.3f,\"user_s\":%.3f,\"system_s\":%.3f,\"cpu_us_per_record\":%.4f,"
                        + "\"peak_rss_kib\":%d}",
                records, valueBytes, wall, user, system, (user + system) * 1e6 / Math.max(records, 1), peakKib());
    }

    /** User and system seconds of this process, the compiler's and the collector's threads too. */
    private static double[] cpu() throws IOException {
        String stat = Files.readString(Path.of("/proc/self/stat"));
        // The second field is a name in brackets, which may hold anything.
        String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
        return new double[] {
            Long.parseLong(fields[11]) / TICKS_PER_SECOND, Long.parseLong(fields[12]) / TICKS_PER_SECOND
        };
    }

    private static long peakKib() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM:")) return Long.parseLong(line.replaceAll("\\D", ""));
        }
        return 0;
    }

    private PollLoop() {}
}
