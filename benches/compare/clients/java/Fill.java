import java.util.Map;
import java.util.SplittableRandom;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * {@code Fill BOOTSTRAP TOPIC RECORDS BYTES BATCH_BYTES PARTITIONS STRIDE [ABORT_EVERY]}: fills partitions 0, STRIDE,
 * 2 STRIDE and so on, PARTITIONS of them, with random letters.
 *
 * <p>With ABORT_EVERY, records are written in transactions, and after so many of them less one another with as many
 * records is written to the brokers and aborted: RECORDS is the number of committed ones. Without it the same
 * records lie in the same batches.
 */
public final class Fill {
    /** Of one transaction and one partition: at 100 bytes they just fit into a batch of 128 KiB. */
    private static final int TRANSACTION = 1_150;

    public static void main(String[] args) throws Exception {
        if (args.length < 7) {
            System.err.println("usage: Fill BOOTSTRAP TOPIC RECORDS BYTES BATCH_BYTES PARTITIONS STRIDE [ABORT_EVERY]");
            System.exit(2);
        }
        String topic = args[1];
        long records = Long.parseLong(args[2]);
        var target = new Target(topic, Integer.parseInt(args[3]), Integer.parseInt(args[5]), Integer.parseInt(args[6]));
        int abortEvery = args.length > 7 ? Integer.parseInt(args[7]) : 0;
        Map<String, Object> settings = new java.util.HashMap<>(Map.of(
                "bootstrap.servers", args[0],
                "batch.size", Integer.parseInt(args[4]),
                // Batches are cut by their size and by flushes, not by how slow this machine is.
                "linger.ms", 60_000,
                "delivery.timeout.ms", 180_000,
                "buffer.memory", 128L << 20,
                "acks", "all"));
        if (abortEvery > 0) settings.put("transactional.id", topic);
        var bytes = new ByteArraySerializer();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings, bytes, bytes)) {
            if (abortEvery > 0) producer.initTransactions();
            int inRow = 0;
            for (long next = 0; next < records; ) {
                long until = Math.min(next + (long) TRANSACTION * target.partitions, records);
                if (abortEvery > 0 && ++inRow == abortEvery) {
                    inRow = 0;
                    producer.beginTransaction();
                    target.send(producer, next, until);
                    // What is not sent yet would be dropped, and not be in the log for readers to leave out.
                    producer.flush();
                    producer.abortTransaction();
                    continue;
                }
                if (abortEvery > 0) producer.beginTransaction();
                target.send(producer, next, until);
                if (abortEvery > 0) producer.commitTransaction();
                else producer.flush();
                next = until;
            }
        }
    }

    private record Target(String topic, int bytes, int partitions, int stride) {
        /** Records {@code from} to {@code until}, exclusive; what is in one follows from its number. */
        void send(KafkaProducer<byte[], byte[]> producer, long from, long until) {
            for (long i = from; i < until; i++) {
                byte[] value = new byte[bytes];
                var random = new SplittableRandom(i);
                for (int at = 0; at < bytes; at++) value[at] = (byte) ('a' + random.nextInt(26));
                producer.send(new ProducerRecord<>(topic, (int) (i % partitions) * stride, null, value));
            }
        }
    }

    private Fill() {}
}
