#!/bin/bash
# Reads to variants, as anybody would write it where all tools are installed.
# usage: pipeline.sh REFERENCE.fa READS_1.fq READS_2.fq OUT
set -euo pipefail
reference=$1 first=$2 second=$3 out=$4
mkdir -p "$out"
cp "$reference" "$out/ref.fa"
cd "$out"

bwa index ref.fa 2> bwa.log
samtools faidx ref.fa
bwa mem -R '@RG\tID:lab\tSM:sample one' ref.fa "$first" "$second" 2>> bwa.log |
    samtools sort -o sorted.bam - 2> sort.log
picard MarkDuplicates I=sorted.bam O=marked.bam M=duplicates.txt \
    VALIDATION_STRINGENCY=SILENT QUIET=true VERBOSITY=ERROR 2> picard.log
samtools index marked.bam
samtools-newer flagstat marked.bam > flagstat.txt
bcftools mpileup -f ref.fa marked.bam 2> bcftools.log | bcftools call -mv -Ov -o calls.vcf 2>> bcftools.log
bcftools query -i 'QUAL>30' -f '%POS %REF %ALT\n' calls.vcf > variants.txt

printf 'samtools %s\n' "$(samtools --version | sed -n '1s/.* //p')" > versions.txt
printf 'samtools-newer %s\n' "$(samtools-newer --version | sed -n '1s/.* //p')" >> versions.txt
wc -l < variants.txt
