import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.function.Predicate;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Headers;

/**
 * {@code Fixtures BOOTSTRAP PREFIX [NAME...]}: writes the fixture topics (all or the named ones) as PREFIX-NAME and
 * prints one JSON line per topic. Every run writes the same data, except for the timestamps of markers and the times at
 * which the log cleaner runs. The oracle for a run is a dump of that run, see {@link Dump}.
 */
public final class Fixtures {
    /** A recent time in milliseconds that is the same in every run. */
    static final long NOW = 1_750_000_000_000L;

    /** Set by -Dsmall=true: the larger fixtures are short, for record.sh. */
    static final boolean SMALL = Boolean.getBoolean("small");

    private final String bootstrap;
    private final String prefix;
    private final org.apache.kafka.clients.admin.Admin admin;
    private final Map<String, Topic> topics = new LinkedHashMap<>();

    private interface Fill {
        void into(String topic) throws Exception;
    }

    private record Topic(NewTopic create, Fill fill) {}

    private Fixtures(String bootstrap, String prefix) {
        this.bootstrap = bootstrap;
        this.prefix = prefix;
        this.admin = Kit.admin(bootstrap);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) add(codec, 3, t -> codec(t, codec));
        add("tx", 2, this::transactions);
        add("tx-tail", 1, this::abortedTail);
        add("trimmed", 1, this::trimmed);
        add("log-append-time", 1, this::logAppendTime, "message.timestamp.type", "LogAppendTime");
        add("big", 1, this::big, "max.message.bytes", "33554432");
        add("tiny", 1, this::tiny);
        add("two-big", 2, this::twoBig);
        add("sparse", 1000, this::sparse);
        add("empty", 2, t -> {});
        add("old", 1, this::old);
        add("multi", 8, this::multi);
        // Kafka compares segment.ms with record timestamps, not with the clock, so segments roll at exact offsets.
        String[] compact = {
            "cleanup.policy", "compact", "segment.ms", "60000", "min.cleanable.dirty.ratio", "0.0",
            "delete.retention.ms", "0", "min.compaction.lag.ms", "0",
        };
        add("compacted", 1, this::compacted, compact);
        add("compacted-tail", 1, this::compactedTail, compact);
        add("tx-open", 2, this::openTransaction); // last: its producer stays open until the process is halted
    }

    private void add(String name, int partitions, Fill fill, String... configs) {
        Map<String, String> map = new HashMap<>(Map.of("retention.ms", "-1"));
        for (int i = 0; i < configs.length; i += 2) map.put(configs[i], configs[i + 1]);
        // The brokers' default replication factor, or 1 for a topic that would have thousands of replicas.
        Optional<Short> replicas = partitions > 100 ? Optional.of((short) 1) : Optional.empty();
        NewTopic topic = new NewTopic(prefix + "-" + name, Optional.of(partitions), replicas).configs(map);
        topics.put(name, new Topic(topic, fill));
    }

    public static void main(String[] args) throws Exception {
        int code = 1;
        try {
            Fixtures f = new Fixtures(args[0], args[1]);
            Set<String> names = new HashSet<>(List.of(args).subList(2, args.length));
            for (String name : names) {
                if (!f.topics.containsKey(name)) throw new IllegalArgumentException("fixtures: " + f.topics.keySet());
            }
            if (!names.isEmpty()) f.topics.keySet().retainAll(names);
            f.write();
            code = 0;
        } catch (Throwable e) {
            e.printStackTrace();
        }
        System.out.flush();
        System.err.flush();
        Runtime.getRuntime().halt(code); // no close, no shutdown hook: the open transaction of tx-open stays open
    }

    private void write() throws Exception {
        Admin.createAll(admin, topics.values().stream().map(Topic::create).toList());
        for (Map.Entry<String, Topic> t : topics.entrySet()) {
            long start = System.nanoTime();
            NewTopic topic = t.getValue().create();
            t.getValue().fill().into(topic.name());
            System.out.println("{\"fixture\":" + Kit.q(t.getKey()) + ",\"topic\":" + Kit.q(topic.name())
                    + ",\"partitions\":" + topic.numPartitions() + "}");
            System.err.printf("Fixtures: %s %d ms%n", topic.name(), (System.nanoTime() - start) / 1_000_000);
        }
    }

    // ---- plain topics --------------------------------------------------------------------------------------------

    /**
     * 3,000 records in each of 3 partitions and one long record, in batches of 1 to 120. They have every kind of key,
     * value, header and time.
     */
    private void codec(String topic, String codec) throws Exception {
        Random random = new Random(42); // the same records for every codec
        try (KafkaProducer<byte[], byte[]> producer = Kit.producer(bootstrap, codec)) {
            int each = SMALL ? 25 : 3000;
            int[] left = {each, each, each};
            while (left[0] + left[1] + left[2] > 0) {
                for (int p = 0; p < 3; p++) {
                    int n = Math.min(left[p], 1 + random.nextInt(SMALL ? 12 : 120));
                    for (int i = 0; i < n; i++) producer.send(mixed(topic, p, random, left[p]--));
                }
                producer.flush();
            }
            // Several blocks of the Java client's lz4, snappy and zstd, whatever the lengths of the random values.
            producer.send(text(topic, 0, NOW, "long", "long text ".repeat(15_000)));
            producer.flush();
        }
    }

    private static ProducerRecord<byte[], byte[]> mixed(String topic, int partition, Random random, int i) {
        byte[] key = switch (random.nextInt(5)) {
            case 0 -> null;
            case 1 -> new byte[0];
            case 2 -> Kit.utf8("key-" + random.nextInt(100));
            case 3 -> Kit.utf8("schlüssel-\u9375-\uD83D\uDD11-" + i);
            default -> bytes(random, 1 + random.nextInt(20));
        };
        byte[] value = switch (random.nextInt(40)) {
            case 0, 1, 2, 3 -> null;
            case 4, 5, 6, 7 -> new byte[0];
            case 8, 9, 10, 11 -> new byte[] {(byte) 0xff, (byte) 0xfe, 'x', (byte) 0xc3, 0, (byte) 0xed, (byte) 0xa0, (byte) 0x80};
            case 12, 13, 14, 15 -> bytes(random, random.nextInt(600));
            // Sometimes more than 64 KB: more than one block of the Java client's lz4 and snappy.
            case 16 -> i % 7 == 0 ? Kit.utf8("long text ".repeat(15_000 + i)) : Kit.utf8("text ".repeat(i % 500));
            default -> Kit.utf8("{\"i\":" + i + ",\"name\":\"n-" + random.nextInt(1000) + "\",\"text\":\"grün \u20ac\"}");
        };
        long timestamp = switch (random.nextInt(8)) {
            case 0 -> 0;
            case 1 -> 1000;
            case 2 -> 981_173_106_000L + i; // 2001
            default -> NOW - i * 1000L + random.nextInt(500);
        };
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, partition, timestamp, key, value);
        Headers headers = record.headers();
        switch (random.nextInt(6)) {
            case 0 -> headers.add("b", Kit.utf8("1")).add("a", Kit.utf8("2")).add("b", Kit.utf8("3")).add("b", null);
            case 1 -> headers.add("", new byte[0]).add("empty", new byte[0]).add("null", null);
            case 2 -> headers.add("\u00fcn\u00efc\u00f8de-\uD83D\uDE80", bytes(random, random.nextInt(30)));
            default -> {}
        }
        return record;
    }

    private static byte[] bytes(Random random, int n) {
        byte[] b = new byte[n];
        random.nextBytes(b);
        return b;
    }

    /** 1,000 records in batches of 30; the log start offset 400 is inside the batch 390 to 419. */
    private void trimmed(String topic) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = Kit.producer(bootstrap, "lz4")) {
            for (int i = 0; i < 1000; i++) {
                producer.send(text(topic, 0, NOW + i, "k" + i, "trimmed " + i));
                if (i % 30 == 29) producer.flush();
            }
        }
        TopicPartition tp = new TopicPartition(topic, 0);
        admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(400))).all().get();
        expect(Admin.offset(admin, tp, OffsetSpec.earliest(), false) == 400, "log start of " + topic);
    }

    /** The producer's timestamps are of 1970; the broker replaces them with the time of the append. */
    private void logAppendTime(String topic) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = Kit.producer(bootstrap, "zstd")) {
            for (int i = 0; i < (SMALL ? 100 : 500); i++) {
                producer.send(text(topic, 0, 1000 + i, "k" + i, "appended " + i));
                if (i % 25 == 24) producer.flush();
            }
        }
    }

    private void old(String topic) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = Kit.producer(bootstrap, "none")) {
            for (int i = 0; i < 600; i++) {
                long timestamp = i < 200 ? i : i < 400 ? 1_000_000_000_000L + i : 978_307_200_000L - 7 * i; // falls, too
                producer.send(text(topic, 0, timestamp, "k" + i, "old " + i));
                if (i % 20 == 19) producer.flush();
            }
        }
    }

    /** 9 MB that do not compress, uncompressed, and 9 MB that compress to almost nothing, between small records. */
    private void big(String topic) throws Exception {
        Random random = new Random(9);
        byte[] noise = bytes(random, 9_000_000);
        byte[] zeros = Kit.utf8("compressible ".repeat(9_000_000 / 13));
        try (KafkaProducer<byte[], byte[]> none = Kit.producer(bootstrap, "none");
                KafkaProducer<byte[], byte[]> zstd = Kit.producer(bootstrap, "zstd")) {
            for (int i = 0; i < 300; i++) {
                if (i == 100) none.send(new ProducerRecord<>(topic, 0, NOW + i, Kit.utf8("noise"), noise));
                else if (i == 200) zstd.send(new ProducerRecord<>(topic, 0, NOW + i, Kit.utf8("zstd"), zeros));
                else none.send(text(topic, 0, NOW + i, "k" + i, "small " + i));
                if (i % 10 == 9 || i % 100 == 0) none.flush(); // the large records are batches of their own
                if (i == 99 || i == 199) none.flush();
                if (i == 200) zstd.flush();
            }
        }
    }

    /** 2,000 batches of one record. */
    private void tiny(String topic) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer =
                Kit.producer(bootstrap, "none", "batch.size", 0, "linger.ms", 0, "enable.idempotence", false,
                        "max.in.flight.requests.per.connection", 1)) {
            for (int i = 0; i < 2000; i++) producer.send(text(topic, 0, NOW + i, i % 3 == 0 ? null : "k" + i, "tiny " + i));
        }
    }

    /** 20 batches of 5 x 100 KB in each of both partitions: each exceeds a small fetch limit. */
    private void twoBig(String topic) throws Exception {
        Random random = new Random(2);
        try (KafkaProducer<byte[], byte[]> producer = Kit.producer(bootstrap, "none")) {
            for (int batch = 0; batch < 20; batch++) {
                for (int i = 0; i < 10; i++) {
                    producer.send(new ProducerRecord<>(topic, i % 2, NOW + batch, Kit.utf8("b" + batch), bytes(random, 100_000)));
                }
                producer.flush();
            }
        }
    }

    /** 1,000 partitions, of which 3, 103, ..., 903 have 100 records each. */
    private void sparse(String topic) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = Kit.producer(bootstrap, "snappy")) {
            for (int i = 0; i < 1000; i++) {
                producer.send(text(topic, i % 10 * 100 + 3, NOW + i, "k" + i, "sparse " + i));
                if (i % 200 == 199) producer.flush();
            }
        }
    }

    private void multi(String topic) throws Exception {
        Random random = new Random(8);
        try (KafkaProducer<byte[], byte[]> producer = Kit.producer(bootstrap, "lz4")) {
            for (int i = 0; i < 20_000; i++) {
                int p = (int) Math.min(7, Math.abs(random.nextGaussian()) * 3); // skewed
                producer.send(text(topic, p, NOW + i, "k" + i % 500, "multi " + i + " " + random.nextLong()));
                if (i % 400 == 399) producer.flush();
            }
        }
    }

    // ---- transactions --------------------------------------------------------------------------------------------

    private KafkaProducer<byte[], byte[]> transactional(String topic, String name, int timeoutMs) {
        KafkaProducer<byte[], byte[]> producer = Kit.producer(bootstrap, "lz4", "transactional.id", topic + "-" + name,
                "transaction.timeout.ms", timeoutMs);
        producer.initTransactions();
        return producer;
    }

    /**
     * Three transactional producers and a plain one write in random order, in batches of 1 to 3 records. Values say how
     * their transaction ends. The first transactions of producer A end with abort, commit, abort. Both partitions end
     * with an aborted transaction.
     */
    private void transactions(String topic) throws Exception {
        Random random = new Random(7);
        List<KafkaProducer<byte[], byte[]>> producers = new ArrayList<>();
        for (String name : List.of("A", "B", "C")) producers.add(transactional(topic, name, 600_000));
        try (KafkaProducer<byte[], byte[]> plain = Kit.producer(bootstrap, "none")) {
            boolean[] open = new boolean[3];
            boolean[] commit = new boolean[3];
            int[] count = new int[3];
            for (int step = 0; step < (SMALL ? 100 : 500); step++) {
                int who = random.nextInt(4);
                if (who == 3) {
                    burst(plain, topic, random, "plain " + step);
                    continue;
                }
                KafkaProducer<byte[], byte[]> producer = producers.get(who);
                if (open[who] && random.nextInt(4) == 0) {
                    end(producer, commit[who]);
                    open[who] = false;
                    continue;
                }
                if (!open[who]) {
                    producer.beginTransaction();
                    open[who] = true;
                    commit[who] = who == 0 && count[who] < 3 ? count[who] == 1 : random.nextBoolean();
                    count[who]++;
                }
                burst(producer, topic, random, "ABC".charAt(who) + " tx " + count[who] + (commit[who] ? " commit" : " abort"));
            }
            // The tail: open transactions of all producers end, then A writes records and aborts them. Nothing follows.
            for (int who = 2; who >= 0; who--) if (open[who]) end(producers.get(who), commit[who]);
            producers.get(0).beginTransaction();
            for (int i = 0; i < 6; i++) {
                producers.get(0).send(text(topic, i % 2, NOW, "A", "A tail abort " + i));
                if (i % 2 == 1) producers.get(0).flush();
            }
            end(producers.get(0), false);
        } finally {
            producers.forEach(Producer::close);
        }
        settle(topic, 2);
    }

    private static void burst(Producer<byte[], byte[]> producer, String topic, Random random, String what) {
        int partition = random.nextInt(2);
        int n = 1 + random.nextInt(3);
        for (int i = 0; i < n; i++) producer.send(text(topic, partition, NOW + i, what.substring(0, 1), what + " " + i));
        producer.flush();
    }

    private static void end(Producer<byte[], byte[]> producer, boolean commit) {
        if (commit) producer.commitTransaction();
        else producer.abortTransaction();
    }

    /** 50 plain records, then 30 aborted ones and the abort marker at the end of the log. */
    private void abortedTail(String topic) throws Exception {
        try (KafkaProducer<byte[], byte[]> plain = Kit.producer(bootstrap, "none");
                KafkaProducer<byte[], byte[]> producer = transactional(topic, "A", 600_000)) {
            for (int i = 0; i < 50; i++) plain.send(text(topic, 0, NOW + i, "k" + i, "plain " + i));
            plain.flush();
            producer.beginTransaction();
            for (int i = 0; i < 30; i++) {
                producer.send(text(topic, 0, NOW + i, "k" + i, "abort " + i));
                if (i % 10 == 9) producer.flush();
            }
            producer.abortTransaction();
        }
        settle(topic, 1);
    }

    /**
     * Partition 0: 100 committed records, 10 of a transaction that stays open, 50 plain ones. The last stable offset is
     * 101 (the commit marker is at 100), and the high watermark is 161. Partition 1: 30 plain records only.
     */
    private void openTransaction(String topic) throws Exception {
        try (KafkaProducer<byte[], byte[]> plain = Kit.producer(bootstrap, "none");
                KafkaProducer<byte[], byte[]> committed = transactional(topic, "A", 600_000)) {
            committed.beginTransaction();
            for (int i = 0; i < 100; i++) committed.send(text(topic, 0, NOW + i, "k" + i, "commit " + i));
            committed.commitTransaction();
            settle(topic, 1);
            KafkaProducer<byte[], byte[]> open = transactional(topic, "B", 6 * 3600_000); // never closed
            open.beginTransaction();
            for (int i = 0; i < 10; i++) open.send(text(topic, 0, NOW + i, "k" + i, "open " + i));
            open.flush();
            for (int i = 0; i < 50; i++) plain.send(text(topic, 0, NOW + i, "k" + i, "later " + i));
            for (int i = 0; i < 30; i++) plain.send(text(topic, 1, NOW + i, "k" + i, "plain " + i));
            plain.flush();
        }
        TopicPartition tp = new TopicPartition(topic, 0);
        long stable = Admin.offset(admin, tp, OffsetSpec.latest(), true);
        long high = Admin.offset(admin, tp, OffsetSpec.latest(), false);
        expect(stable == 101 && high == 161, topic + " has last stable offset " + stable + ", high watermark " + high);
    }

    /** Waits for the markers: a commit or abort returns before its markers are in the log. */
    private void settle(String topic, int partitions) throws Exception {
        for (int p = 0; p < partitions; p++) {
            TopicPartition tp = new TopicPartition(topic, p);
            long end = System.nanoTime() + 30_000_000_000L;
            while (Admin.offset(admin, tp, OffsetSpec.latest(), true) < Admin.offset(admin, tp, OffsetSpec.latest(), false)) {
                expect(System.nanoTime() < end, tp + " still has an open transaction after 30 s");
                Thread.sleep(20);
            }
        }
    }

    // ---- compaction ----------------------------------------------------------------------------------------------

    /**
     * Offsets 0 to 2999 overwrite 20 keys many times, in segments of 500. The last value of keys 15 to 19 is a
     * tombstone. Every 53rd record has a key of its own and stays. Offsets 3000 to 3019 write only keys 0 to 9: two
     * of them end as tombstones, and the second half is aborted. After the marker, 20 more records stay in the active
     * segment, which is never cleaned.
     *
     * <p>The cleaned part thus has many holes and lacks the older tombstones. It keeps the younger two, in a batch whose
     * base timestamp is a delete horizon. It ends with a hole, because its last records were aborted. (The broker keeps
     * that producer's last batch as an empty one.)
     */
    private void compacted(String topic) throws Exception {
        try (KafkaProducer<byte[], byte[]> plain = Kit.producer(bootstrap, "lz4", "enable.idempotence", false)) {
            for (int i = 0; i < 2980; i++) {
                int key = i % 53 == 0 ? 1000 + i : i % 20;
                plain.send(text(topic, 0, at(i / 500), "k" + key, "compacted " + i));
                if (i % 37 == 36 || i % 500 == 499) plain.flush(); // a segment ends between batches
            }
            for (int i = 2980; i < 3000; i++) {
                plain.send(text(topic, 0, at(6), "k" + i % 20, i % 20 < 15 ? "compacted " + i : null));
            }
            plain.flush();
            try (KafkaProducer<byte[], byte[]> producer = transactional(topic, "A", 600_000)) {
                // The first of these records rolls the segment, so that all records before it can be cleaned.
                for (int i = 3000; i < 3010; i++) {
                    plain.send(text(topic, 0, at(7), "k" + i % 20, i < 3008 ? "compacted " + i : null));
                }
                plain.flush();
                // The cleaner removes tombstones in two passes: the first sets a delete horizon, a later one removes them.
                await(topic, r -> r.offset() < 2980 && number(r) < 20, "overwritten records");
                producer.beginTransaction();
                for (int i = 0; i < 10; i++) {
                    producer.send(text(topic, 0, at(7), "k" + i, "abort " + i));
                    if (i % 3 == 2) producer.flush();
                }
                producer.flush();
                producer.abortTransaction();
                settle(topic, 1);
            }
            // The marker has the broker's time. These records need it too, to be in the same segment as the marker.
            long now = System.currentTimeMillis();
            for (int i = 0; i < 20; i++) {
                plain.send(text(topic, 0, now, "k" + i % 4, i < 18 ? "active " + i : null));
                if (i % 6 == 5) plain.flush();
            }
            plain.flush();
            await(topic, r -> r.offset() < 3000 && (r.value() == null || number(r) < 10), "tombstones");
        }
    }

    /**
     * Records up to 199, most of which are overwritten. Offsets 200 to 299 are of a transaction whose abort marker, at
     * 300, is the last of the log. The marker is alone in the active segment, which the broker never cleans, so a log
     * cannot end in a hole. The hundred offsets before it are cleaned: from 200 on, a reader finds at most empty batches
     * and one control batch, under either isolation level.
     */
    private void compactedTail(String topic) throws Exception {
        try (KafkaProducer<byte[], byte[]> plain = Kit.producer(bootstrap, "none", "enable.idempotence", false);
                KafkaProducer<byte[], byte[]> producer = transactional(topic, "A", 600_000)) {
            for (int i = 0; i < 200; i++) {
                plain.send(text(topic, 0, at(0), "k" + i % 10, "tail " + i));
                if (i % 20 == 19) plain.flush();
            }
            producer.beginTransaction();
            for (int i = 200; i < 300; i++) {
                producer.send(text(topic, 0, at(0), "a" + i, "abort " + i));
                if (i % 10 == 9) producer.flush();
            }
            producer.abortTransaction(); // the marker has the current time, long after at(0), so it rolls the segment
        }
        settle(topic, 1);
        await(topic, r -> r.offset() < 190 || r.offset() >= 200, "cleaned records");
    }

    /**
     * The time for records of a segment. Segments are two minutes apart, so that each rolls. All are in the past, so that
     * the broker's markers roll a segment too.
     */
    private static long at(int segment) {
        return NOW - 86_400_000L + segment * 120_000L;
    }

    private static int number(ConsumerRecord<byte[], byte[]> r) {
        return Integer.parseInt(new String(r.key(), StandardCharsets.UTF_8).substring(1));
    }

    /** Reads the topic until no record matches, which is after the cleaner has run. */
    private void await(String topic, Predicate<ConsumerRecord<byte[], byte[]>> removed, String what) throws Exception {
        TopicPartition tp = new TopicPartition(topic, 0);
        long end = System.nanoTime() + 60_000_000_000L;
        // read_uncommitted returns aborted records too, until they are cleaned.
        try (KafkaConsumer<byte[], byte[]> consumer = Kit.consumer(bootstrap, "read_uncommitted")) {
            consumer.assign(List.of(tp));
            long until = consumer.endOffsets(List.of(tp)).get(tp);
            for (;;) {
                consumer.seek(tp, 0);
                int matching = 0;
                int all = 0;
                while (consumer.position(tp) < until) {
                    for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(100))) {
                        all++;
                        if (removed.test(r)) matching++;
                    }
                    expect(System.nanoTime() < end, topic + ": not at the end after 60 s, but at " + consumer.position(tp));
                }
                if (matching == 0) return;
                expect(System.nanoTime() < end, topic + ": not compacted in 60 s: " + matching + " " + what + " of " + all + " records");
                Thread.sleep(200);
            }
        }
    }

    // ---- helpers -------------------------------------------------------------------------------------------------

    private static ProducerRecord<byte[], byte[]> text(String topic, int partition, long timestamp, String key, String value) {
        return new ProducerRecord<>(topic, partition, timestamp, Kit.utf8(key), Kit.utf8(value));
    }

    private static void expect(boolean truth, String message) {
        if (!truth) throw new IllegalStateException(message);
    }
}
