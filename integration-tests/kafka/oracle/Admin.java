import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;

/** {@code Admin BOOTSTRAP COMMAND...}: see {@link #USAGE}. Results go to standard output, one per line. */
public final class Admin {
    static final String USAGE = String.join("\n",
            "Admin BOOTSTRAP",
            "  create TOPIC PARTITIONS REPLICATION [k=v...]     returns once every partition has a leader",
            "  delete TOPIC",
            "  delete-records TOPIC PARTITION OFFSET            prints the new log start offset",
            "  topics                                           prints the names, without internal topics",
            "  leader TOPIC PARTITION                           prints ID host:port, or -1 without a leader",
            "  offsets TOPIC PARTITION                          prints LOG_START LAST_STABLE HIGH_WATERMARK",
            "  append TOPIC PARTITION N SIZE CODEC [KEYPREFIX]  prints FIRST LAST, the offsets written",
            "  commit-group GROUP TOPIC PARTITION OFFSET",
            "  group-offsets GROUP                              prints TOPIC PARTITION OFFSET lines",
            "  quota CLIENT_ID BYTES                            sets the bytes per second the client may fetch",
            "  ready N                                          waits for N brokers");

    public static void main(String[] args) throws Exception {
        if (args.length < 2) {
            System.err.println(USAGE);
            System.exit(2);
        }
        List<String> a = List.of(args).subList(2, args.length);
        try (org.apache.kafka.clients.admin.Admin admin = Kit.admin(args[0])) {
            switch (args[1]) {
                case "create" -> create(admin, a);
                case "delete" -> admin.deleteTopics(List.of(a.get(0))).all().get();
                case "delete-records" -> System.out.println(
                        admin.deleteRecords(Map.of(tp(a, 0), RecordsToDelete.beforeOffset(Long.parseLong(a.get(2)))))
                                .lowWatermarks().get(tp(a, 0)).get().lowWatermark());
                case "topics" -> new TreeSet<>(admin.listTopics().names().get()).forEach(System.out::println);
                case "leader" -> {
                    Node n = describe(admin, a.get(0)).partitions().get(Integer.parseInt(a.get(1))).leader();
                    System.out.println(n == null || n.isEmpty() ? "-1" : n.id() + " " + n.host() + ":" + n.port());
                }
                case "offsets" -> {
                    TopicPartition tp = tp(a, 0);
                    System.out.println(offset(admin, tp, OffsetSpec.earliest(), false) + " "
                            + offset(admin, tp, OffsetSpec.latest(), true) + " "
                            + offset(admin, tp, OffsetSpec.latest(), false));
                }
                case "append" -> append(args[0], a);
                case "commit-group" -> admin.alterConsumerGroupOffsets(
                        a.get(0), Map.of(tp(a, 1), new OffsetAndMetadata(Long.parseLong(a.get(3))))).all().get();
                case "group-offsets" -> {
                    Map<String, String> sorted = new TreeMap<>();
                    admin.listConsumerGroupOffsets(a.get(0)).partitionsToOffsetAndMetadata().get().forEach((tp, o) -> {
                        String line = tp.topic() + " " + tp.partition() + " " + o.offset();
                        sorted.put(String.format("%s %09d", tp.topic(), tp.partition()), line);
                    });
                    sorted.values().forEach(System.out::println);
                }
                case "quota" -> {
                    var client = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, a.get(0)));
                    var rate = new ClientQuotaAlteration.Op("consumer_byte_rate", Double.valueOf(a.get(1)));
                    admin.alterClientQuotas(List.of(new ClientQuotaAlteration(client, List.of(rate)))).all().get();
                }
                case "ready" -> {
                    long end = System.nanoTime() + 60_000_000_000L;
                    while (admin.describeCluster().nodes().get().size() < Integer.parseInt(a.get(0))) {
                        if (System.nanoTime() > end) throw new IllegalStateException("brokers are missing after 60 s");
                        Thread.sleep(100);
                    }
                }
                default -> throw new IllegalArgumentException(args[1] + "\n" + USAGE);
            }
        }
    }

    static TopicPartition tp(List<String> a, int i) {
        return new TopicPartition(a.get(i), Integer.parseInt(a.get(i + 1)));
    }

    static TopicDescription describe(org.apache.kafka.clients.admin.Admin admin, String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    static long offset(org.apache.kafka.clients.admin.Admin admin, TopicPartition tp, OffsetSpec spec, boolean committed)
            throws Exception {
        IsolationLevel level = committed ? IsolationLevel.READ_COMMITTED : IsolationLevel.READ_UNCOMMITTED;
        return admin.listOffsets(Map.of(tp, spec), new ListOffsetsOptions(level)).partitionResult(tp).get().offset();
    }

    private static void create(org.apache.kafka.clients.admin.Admin admin, List<String> a) throws Exception {
        Map<String, String> configs = new HashMap<>();
        for (String kv : a.subList(3, a.size())) configs.put(kv.split("=", 2)[0], kv.split("=", 2)[1]);
        int partitions = Integer.parseInt(a.get(1));
        NewTopic topic = new NewTopic(a.get(0), Optional.of(partitions), Optional.of(Short.parseShort(a.get(2))));
        createAll(admin, List.of(topic.configs(configs)));
    }

    /** Creates topics and waits until every partition has a leader in the brokers' metadata. */
    static void createAll(org.apache.kafka.clients.admin.Admin admin, List<NewTopic> topics) throws Exception {
        admin.createTopics(topics).all().get();
        for (NewTopic topic : topics) {
            for (int tries = 0; ; tries++) {
                try {
                    List<TopicPartitionInfo> found = describe(admin, topic.name()).partitions();
                    if (found.size() == topic.numPartitions()
                            && found.stream().allMatch(p -> p.leader() != null && !p.leader().isEmpty())) break;
                } catch (java.util.concurrent.ExecutionException notYetKnown) {
                    if (tries > 200) throw notYetKnown;
                }
                if (tries > 200) throw new IllegalStateException(topic.name() + " has partitions without a leader");
                Thread.sleep(50);
            }
        }
    }

    /** Appends records. Half of each value repeats every 64 bytes, so that it compresses, but not to almost nothing. */
    private static void append(String bootstrap, List<String> a) throws Exception {
        TopicPartition tp = tp(a, 0);
        int n = Integer.parseInt(a.get(2));
        byte[] value = new byte[Integer.parseInt(a.get(3))];
        Random random = new Random(tp.hashCode());
        long first = Long.MAX_VALUE;
        long last = -1;
        try (KafkaProducer<byte[], byte[]> producer =
                Kit.producer(bootstrap, a.get(4), "linger.ms", 5, "batch.size", 128 << 10)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < n; i++) {
                random.nextBytes(value);
                for (int j = 64; j < value.length / 2 + 64 && j < value.length; j++) value[j] = value[j - 64];
                byte[] key = a.size() > 5 ? Kit.utf8(a.get(5) + i) : null;
                // send copies the record into its batch before it returns, so the array can be reused.
                sent.add(producer.send(new ProducerRecord<>(tp.topic(), tp.partition(), key, value)));
                if (i == n - 1) producer.flush();
                if (sent.size() < 10_000 && i < n - 1) continue;
                for (Future<RecordMetadata> f : sent) {
                    first = Math.min(first, f.get().offset());
                    last = Math.max(last, f.get().offset());
                }
                sent.clear();
            }
        }
        System.out.println(first + " " + last);
    }
}
